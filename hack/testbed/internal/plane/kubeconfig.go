// SPDX-License-Identifier: Apache-2.0

package plane

import (
	"encoding/json"

	"sluice.dev/sluice/hack/testbed/internal/pki"
)

// extensionName marks the part of a kubeconfig that tells more about the plane than how to log in. internal/kubetest
// reads it, so that one path is all a test process has to be given.
const extensionName = "testbed.sluice.dev"

// kubeconfig is the file of one user. It is JSON, which every reader of YAML reads too. With info it also says where
// the audit log is.
func kubeconfig(l *layout, user pki.Pair, info *Info) ([]byte, error) {
	const name = "sluice-testbed"
	cluster := map[string]any{"server": l.server(), "certificate-authority-data": l.ca.CertPEM()}
	if info != nil {
		cluster["extensions"] = []any{map[string]any{"name": extensionName, "extension": info}}
	}
	return json.MarshalIndent(map[string]any{
		"apiVersion": "v1", "kind": "Config", "current-context": name,
		"clusters": []any{map[string]any{"name": name, "cluster": cluster}},
		"contexts": []any{map[string]any{"name": name, "context": map[string]any{"cluster": name, "user": name}}},
		"users": []any{map[string]any{"name": name, "user": map[string]any{
			"client-certificate-data": user.Cert, "client-key-data": user.Key,
		}}},
	}, "", "  ")
}
