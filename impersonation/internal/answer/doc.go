// SPDX-License-Identifier: Apache-2.0

// Package answer tells what an API server says from what something before it says, or the server itself before it is ready.
// Whoever takes either for an answer forgets objects that are there (weakness W33). It adds no credentials and retries nothing.
package answer
