// SPDX-License-Identifier: Apache-2.0

// Package provenance checks Helm charts by their provenance files: clear-signed OpenPGP messages with a chart's metadata and the
// digest of its archive, which `helm package --sign` writes. In a repository with an index such a file lies beside the archive, in a
// registry it is a layer of the chart's manifest ([InRegistry]).
//
// A signature counts for one archive alone: the digest in the signed text has to be its digest, and the name and version in the
// signed metadata those that were asked for. A file that speaks of anything else, or of several files, is refused: an old signature
// beside a new chart, or another chart's, would be a downgrade. Which OpenPGP signatures and keys count is internal/verify/pgp's to say.
// Nothing is fetched here but by the Find that is given.
package provenance
