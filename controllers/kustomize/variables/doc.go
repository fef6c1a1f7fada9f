// SPDX-License-Identifier: Apache-2.0

// Package variables reads what spec.postBuild.substituteFrom refers to. It reads as whoever the client acts as: in the
// controller the object's own ServiceAccount, in a preview the user of the command line. What that identity may not read
// does not end up in objects (policy rule 16). What is done with the variables is package render's.
package variables
