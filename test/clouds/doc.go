// SPDX-License-Identifier: Apache-2.0

// Package clouds is a stand-in of the HTTP APIs of AWS, Google Cloud, Azure and GitHub that internal/cloud and internal/github speak to:
// token services, key services, where clusters are, and repositories. It listens under the clouds' own names, behind a proxy that leads nowhere else, and checks what the real ones
// check: the workload's token (which its user reviews, with a real API server for example), who trusts whom, and every signature by its
// own implementation of Signature Version 4. It also tells who a token is, as the API servers of the clouds do.
package clouds
