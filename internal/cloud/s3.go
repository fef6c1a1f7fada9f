// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"net/http"
	"time"

	"sluice.dev/sluice/internal/fips"
)

// NewAWSCredential returns a credential that somebody was given, an access key for example. It has no session where it is none of a
// session, and does not expire as far as anybody here knows.
func NewAWSCredential(id string, secret, session Secret) AWSCredential {
	return AWSCredential{id: id, secret: secret, session: session}
}

// S3 signs requests to an object store that speaks the API of S3.
type S3 struct {
	Credential AWSCredential
	Region     string
	Digests    fips.Digests
}

// Sign signs a request with a body, which is empty where nothing is written. Its path must be escaped as AWS does it: everything but letters, digits and -._~/.
func (s S3) Sign(req *http.Request, body string, now time.Time) error {
	by := signer{cred: s.Credential, region: s.Region, service: "s3", digests: s.Digests, now: now}
	digest, err := by.hash(body)
	if err != nil {
		return err
	}
	req.Header.Set("X-Amz-Content-Sha256", digest)
	return by.sign(req, body)
}
