// SPDX-License-Identifier: Apache-2.0

// Package latency shows that health is watched and not polled: when an object becomes ready, or stops being so, its
// Kustomization says so at once, with one Kustomization waiting and with five hundred; and while nothing happens, waiting costs
// no request. The figures are printed for people to judge (go test -v). What fails the test is only what a busy machine
// cannot explain: a transition that had to wait for the safety timer, or a request by somebody who had nothing to do.
package latency
