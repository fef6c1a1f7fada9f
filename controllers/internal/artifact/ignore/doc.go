// SPDX-License-Identifier: Apache-2.0

// Package ignore decides which files of a source do not belong in its artifact (spec row S-18): the version control
// system's own files; where nobody says anything, also images, archives and files of build services; what .sourceignore
// files say, each for its own directory; and last, so that it wins, spec.ignore.
//
// Patterns are those of gitignore, matched by go-git. Package ignore reads .sourceignore files and nothing else, and
// removes nothing: controllers/internal/artifact asks it while archiving.
package ignore
