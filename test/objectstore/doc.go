// SPDX-License-Identifier: Apache-2.0

// Package objectstore runs a real MinIO server for tests, and puts fronts before it.
//
//	store := objectstore.Start(t)
//	store.Make(t, "team-a")
//	store.Put(t, "team-a", "app/config.yaml", "a: b\n")
//	front := store.Front(t, objectstore.FrontOptions{TLS: …})
//
// A front is where clients connect: it does TLS, keeps a log of the requests, and can be made hostile. Signatures hold across it,
// because it leaves the Host header alone. Servers and fronts end with the test.
package objectstore
