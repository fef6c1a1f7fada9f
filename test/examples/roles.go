// SPDX-License-Identifier: Apache-2.0

package examples

import (
	"bytes"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"sluice.dev/sluice/impersonation"
	"sluice.dev/sluice/impersonation/rbac"
)

// rolesHeader is line 1 of roles.yaml and what else a reader should know.
const rolesHeader = `# Generated from impersonation/rbac by go test ./test/examples -update. Do not edit.
# What the controllers may do by themselves; for whom they may mint tokens, by name; and which Secrets source-controller may read.
`

// Roles renders platform/roles.yaml: the authority of both controllers over the platform's namespace and two tenants.
func Roles() ([]byte, error) {
	in := rbac.Install{Namespace: "flux-system"}
	renders := []func() ([]client.Object, error){
		func() ([]client.Object, error) { return rbac.RenderController(rbac.Source, in) },
		func() ([]client.Object, error) { return rbac.RenderController(rbac.Kustomize, in) },
		func() ([]client.Object, error) {
			return rbac.RenderPlatform(rbac.Platform{
				Tenant:         rbac.Tenant{Namespace: "flux-system", SourceSecrets: []string{"git", "git-signers"}},
				ServiceAccount: impersonation.DefaultPlatformServiceAccount, ClusterRole: "platform-baseline",
			}, in)
		},
		func() ([]client.Object, error) {
			return rbac.RenderTenant(rbac.Tenant{
				Namespace: "team-a", ServiceAccounts: []string{"deployer"}, SourceSecrets: []string{"registry", "registry-ca"},
			}, in)
		},
		func() ([]client.Object, error) {
			return rbac.RenderTenant(rbac.Tenant{Namespace: "team-b", ServiceAccounts: []string{"deployer"}, SourceSecrets: []string{"git-ssh"}}, in)
		},
	}
	var out bytes.Buffer
	for _, render := range renders {
		objects, err := render()
		if err != nil {
			return nil, err
		}
		if err := rbac.WriteYAML(&out, objects); err != nil {
			return nil, err
		}
	}
	// The header belongs to the first document: a document of comments alone would be one without an object.
	return append([]byte(rolesHeader), bytes.TrimPrefix(out.Bytes(), []byte("---\n"))...), nil
}
