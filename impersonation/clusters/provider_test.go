// SPDX-License-Identifier: Apache-2.0

package clusters

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseProvider(t *testing.T) {
	const address = "https://spoke.example:6443"
	type found struct {
		Server, Account string
		Audiences       []string
		Vendor          string
	}
	tests := map[string]struct {
		data  map[string]string
		want  found
		field string // refused by this name; "?" is any error
	}{
		"the audience is the address": {
			data: map[string]string{"provider": "generic", "address": address},
			want: found{Server: address, Audiences: []string{address}},
		},
		"audiences, one a line": {
			data: map[string]string{"provider": "generic", "address": address, "audiences": "one\n\n  two  \n", "serviceAccountName": "deploy", "cluster": "unused"},
			want: found{Server: address, Account: "deploy", Audiences: []string{"one", "two"}},
		},
		"no provider": {data: map[string]string{"address": address}, field: "?"},
		"aws": {
			data: map[string]string{"provider": "aws", "cluster": eksName, "serviceAccountName": "deploy"},
			want: found{Account: "deploy", Vendor: "aws"},
		},
		"azure, with an address": {
			data: map[string]string{"provider": "azure", "cluster": aksName, "address": address},
			want: found{Server: address, Vendor: "azure"},
		},
		"gcp, with audiences": {
			data: map[string]string{"provider": "gcp", "cluster": gkeName, "audiences": "pool"},
			want: found{Audiences: []string{"pool"}, Vendor: "gcp"},
		},
		"aws without a cluster":      {data: map[string]string{"provider": "aws", "address": address}, field: "?"},
		"azure without a cluster":    {data: map[string]string{"provider": "azure", "address": address}, field: "?"},
		"gcp with a cluster of aws":  {data: map[string]string{"provider": "gcp", "cluster": eksName}, field: "?"},
		"gcp in the clear":           {data: map[string]string{"provider": "gcp", "cluster": gkeName, "address": "http://spoke.example"}, field: "address"},
		"a provider nobody knows":    {data: map[string]string{"provider": "GENERIC", "address": address}, field: "provider"},
		"no address":                 {data: map[string]string{"provider": "generic"}, field: "?"},
		"an address in the clear":    {data: map[string]string{"provider": "generic", "address": "http://spoke.example"}, field: "address"},
		"authorities that are none":  {data: map[string]string{"provider": "generic", "address": address, "ca.crt": "none"}, field: "?"},
		"endless authorities":        {data: map[string]string{"provider": "generic", "address": address, "ca.crt": strings.Repeat("x", maxCA+1)}, field: "?"},
		"more audiences than anyone": {data: map[string]string{"provider": "generic", "address": address, "audiences": strings.Repeat("a\n", maxAudiences+1)}, field: "?"},
		"an endless audience":        {data: map[string]string{"provider": "generic", "address": address, "audiences": strings.Repeat("a", maxAudience+1)}, field: "?"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			e, err := parseProvider(tc.data)
			if tc.field != "" {
				r, ok := errors.AsType[*refusal](err)
				if err == nil || tc.field != "?" && (!ok || r.field != tc.field) {
					t.Errorf("error %v, want a refusal of %q", err, tc.field)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got := found{Server: e.server, Account: e.account.name, Audiences: e.account.audiences}
			if e.vendor != nil {
				got.Vendor = e.vendor.name()
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
