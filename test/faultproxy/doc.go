// SPDX-License-Identifier: Apache-2.0

// Package faultproxy stands between programs and an API server, and does to their talk what networks and busy servers do: it
// refuses, delays, stays silent, loses answers, cuts watches and drops connections.
//
//	proxy := faultproxy.Start(t, plane)
//	p := platform.Start(t, plane, platform.Options{APIServer: proxy.URL})
//	proxy.Disturb(faultproxy.Storm(seed, faultproxy.Weather{Refused: 0.1, Watches: 0.3}))
//	…
//	proxy.Calm()
//
// TLS is on at both sides, with HTTP/2, so that a program has one connection for all it asks, as with a real API server.
// Everything is bounded: no delay is longer than MaxDelay, and a storm lets a request through that it has refused a few times
// in a row. The proxy refuses nobody by itself: who may do what is the API server's business.
package faultproxy
