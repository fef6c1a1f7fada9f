// SPDX-License-Identifier: Apache-2.0

// Package cloud exchanges a workload's token, one of a Kubernetes ServiceAccount, for a short-lived credential of AWS, Google Cloud or
// Azure, asks those clouds where a Kubernetes cluster of theirs is (spec row K-40), and has their key services decrypt (spec row K-17). As whom a workload acts there stand
// annotations of its ServiceAccount, which are Flux's.
//
// It speaks to the clouds' own hosts alone, over internal/transport, and follows no redirect: every name that becomes part of an
// address comes out of a Parse function which knows its form. Requests to AWS are signed through internal/fips. It reads no
// credential of the environment, of files or of the machine, so that nobody acts as the controller by accident: of GKE's metadata it
// reads the names of the cluster. Answers are bounded in size and time.
//
// It mints no tokens, keeps no credential and decides nothing: who may use a ServiceAccount is impersonation's to say, and so is how long a
// credential is kept. No error holds a credential, or a text of a cloud beyond the code of an error.
package cloud
