// SPDX-License-Identifier: Apache-2.0

// Package self makes the impersonation.Client of the command line: it acts as the user of a kubeconfig, with that user's
// rights and no others, to show what a controller would do. Its client reads, and sends every write as a dry run, so that
// whatever it is handed to can rehearse and can change nothing.
//
// Package self is not a way around impersonation for a controller, which would act as itself with it: hack/arch lets the
// command line import it and nobody else.
package self
