// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"sluice.dev/sluice/internal/fips"
)

// TestSigner runs cases of AWS' published suite for Signature Version 4.
func TestSigner(t *testing.T) {
	backend, err := fips.New()
	if err != nil {
		t.Fatal(err)
	}
	s := signer{
		cred:   AWSCredential{id: "AKIDEXAMPLE", secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"},
		region: "us-east-1", service: "service", digests: backend, now: time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC),
	}
	for name, tc := range map[string]struct {
		method, query, header, want string
	}{
		"get-vanilla":                      {http.MethodGet, "", "", "SignedHeaders=host;x-amz-date, Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
		"get-vanilla-query-order-key-case": {http.MethodGet, "Param2=value2&Param1=value1", "", "SignedHeaders=host;x-amz-date, Signature=b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"},
		"post-vanilla":                     {http.MethodPost, "", "", "SignedHeaders=host;x-amz-date, Signature=5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"},
		"post-header-key-sort":             {http.MethodPost, "", "My-Header1=value1", "SignedHeaders=host;my-header1;x-amz-date, Signature=c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c"},
	} {
		t.Run(name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), tc.method, "https://example.amazonaws.com/?"+tc.query, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			if key, value, ok := strings.Cut(tc.header, "="); ok {
				req.Header.Set(key, value)
			}
			if err := s.sign(req, ""); err != nil {
				t.Fatal(err)
			}
			want := "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, " + tc.want
			if got := req.Header.Get("Authorization"); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}
