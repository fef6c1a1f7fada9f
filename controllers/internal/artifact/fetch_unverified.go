// SPDX-License-Identifier: Apache-2.0

package artifact

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/fluxcd/pkg/apis/meta"

	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/internal/verify"
)

// waive returns the proof and the place of content that nobody but the platform's waiver speaks for. The place is Flux's
// path on the configured server, below the folder of this very source, whose name comes from the API server; of what the
// status says, only the file's name is used. So whoever may write a status chooses among that source's own artifacts, and
// cannot send a request anywhere else.
//
// Such content is cached under its source, not under its digest alone: with a statement the digest of somebody else's
// content is of no use, and without one it must not open their copy of it.
func (f *Fetcher) waive(want Want, sum, base string) (verify.Proof, place, error) {
	k, err := KeyOf(want.Origin).checked()
	if err != nil {
		return verify.Proof{}, place{}, err
	}
	file := path.Base(want.Path)
	switch {
	case want.Path != path.Join(k.path(), file):
		err = fmt.Errorf("status.artifact.path %q is not below %q", want.Path, k.path())
	case want.Size > f.config.Limits.Compressed:
		err = fmt.Errorf("status.artifact.size is %d bytes: %w", want.Size, ErrTooLarge)
	default:
		// Upstream names the file of an OCIRepository "sha256:<hex>.tar.gz".
		err = errors.Join(checkFile(strings.ReplaceAll(file, ":", "-")), checkFile(want.Origin.UID))
	}
	if err != nil {
		return verify.Proof{}, place{}, fault.New(fault.Retry, meta.ArtifactFailedReason, "fetch unverified artifact %q of %s: %w", want.Digest, k, err)
	}
	proof, err := verify.Unverified(want.Waiver, verify.Claim{
		Digest: want.Digest, Revision: want.Revision, Origin: want.Origin, Statement: verify.Statement{Method: verify.None},
	})
	if err != nil {
		return verify.Proof{}, place{}, fault.New(fault.Denied, verificationErrorReason, "artifact %q of %s: %w", want.Digest, k, err)
	}
	return proof, place{
		key: sum + "." + want.Origin.UID, sum: sum, address: base + "/" + want.Path, client: f.direct, size: want.Size,
	}, nil
}
