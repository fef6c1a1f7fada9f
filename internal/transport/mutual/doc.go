// SPDX-License-Identifier: Apache-2.0

// Package mutual is for two programs of the platform that prove to each other who they are: TLS with a certificate on both
// sides, from three files in a folder, tls.crt, tls.key and ca.crt, as cert-manager writes them into a Secret.
//
// An Authority makes such folders for a server and its clients, and renews them; an operator may bring folders of their own
// instead. ServerTLS and NewClient follow their files, so that neither needs a restart when these are renewed.
//
// Package mutual decides who may connect, and nothing about what they may then ask for: whoever holds a client certificate of the
// authority in ca.crt, and where the operator names clients, one with such a name.
package mutual
