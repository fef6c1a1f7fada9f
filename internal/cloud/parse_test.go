// SPDX-License-Identifier: Apache-2.0

package cloud_test

import (
	"fmt"
	"strings"
	"testing"

	"sluice.dev/sluice/internal/cloud"
)

const aksName = "/subscriptions/6b4e7d1c-0000-4000-8000-000000000000/resourceGroups/shop_(eu)/providers/Microsoft.ContainerService/managedClusters/shop"

// TestNames: what becomes a part of an address has a form that leads nowhere else.
func TestNames(t *testing.T) {
	eks := func(s string) error { _, err := cloud.ParseEKS(s); return err }
	gke := func(s string) error { _, err := cloud.ParseGKE(s); return err }
	aks := func(s string) error { _, err := cloud.ParseAKS(s); return err }
	role := func(s string) error {
		_, err := cloud.ParseRole(map[string]string{cloud.RoleAnnotation: s})
		return err
	}
	pool := func(s string) error {
		_, err := cloud.ParseGoogleIdentity(map[string]string{cloud.PoolAnnotation: s})
		return err
	}
	email := func(s string) error {
		_, err := cloud.ParseGoogleIdentity(map[string]string{cloud.PoolAnnotation: goodPool, cloud.GoogleAccountAnnotation: s})
		return err
	}
	tenant := func(s string) error {
		_, err := cloud.ParseEntraIdentity(map[string]string{cloud.TenantAnnotation: s, cloud.ClientAnnotation: tenantID})
		return err
	}
	kms := func(s string) error { _, err := cloud.ParseKMSKey(s); return err }
	vault := func(s string) error { _, err := cloud.ParseVaultKey(s, "sops", "0123"); return err }
	vaultKey := func(s string) error { _, err := cloud.ParseVaultKey("https://shop.vault.azure.net", s, ""); return err }
	googleKMS := func(s string) error { _, err := cloud.ParseGoogleKMSKey(s); return err }
	for name, tc := range map[string]struct {
		parse     func(string) error
		good, bad []string
	}{
		"EKS": {
			eks,
			[]string{"arn:aws:eks:eu-central-1:123456789012:cluster/shop_1-a", "arn:aws-us-gov:eks:us-gov-west-1:123456789012:cluster/shop", "arn:aws-cn:eks:cn-north-1:123456789012:cluster/shop"},
			[]string{
				"", "shop", "arn:aws:eks:evil.example/:123456789012:cluster/shop", "arn:aws:eks:eu-central-1:123456789012:cluster/../x", "arn:aws:eks:eu-central-1:123456789012:cluster/a?b",
				"arn:aws-none:eks:eu-central-1:123456789012:cluster/shop", "arn:aws:eks:localhost:123456789012:cluster/shop", "arn:aws:eks:eu-central-1:123456789012:cluster/" + strings.Repeat("x", 101),
				"arn:aws:eks:eu-central-1:123456789012:cluster/shop\n",
			},
		},
		"GKE": {
			gke,
			[]string{"projects/shop-1/locations/europe-west3/clusters/shop", "projects/example.com:shop/locations/europe-west3-a/clusters/shop"},
			[]string{"", "shop", "projects/../locations/x/clusters/y", "projects/a/locations/b/clusters/c?d", "projects/a/locations/b/clusters/c/nodePools/d", "projects/a%2f/locations/b/clusters/c", "projects/a/locations/b/clusters/" + strings.Repeat("x", 65)},
		},
		"AKS": {
			aks,
			[]string{aksName, strings.ToUpper(aksName)},
			[]string{
				"", "shop", strings.Replace(aksName, "shop_(eu)", "..", 1), strings.Replace(aksName, "6b4e7d1c-0000", "6b4e7d1c0-000", 1), aksName + "/x", aksName + "?x",
				strings.Replace(aksName, "ContainerService", "Compute", 1), "@evil.example" + aksName, aksName + strings.Repeat("x", 63),
			},
		},
		"keys of AWS": {
			kms,
			[]string{"arn:aws:kms:eu-central-1:123456789012:key/6b4e7d1c-0000-4000-8000-000000000000", "arn:aws-us-gov:kms:us-gov-west-1:123456789012:alias/team/sops"},
			[]string{"", "arn:aws:kms:evil.example/:123456789012:key/a", "arn:aws-none:kms:eu-central-1:123456789012:key/a", "arn:aws:kms:eu-central-1:123456789012:key/a?b"},
		},
		"vaults": {
			vault,
			[]string{"https://shop.vault.azure.net", "https://Shop.vault.usgovcloudapi.net/", "https://shop.managedhsm.azure.net", "https://shop.vault.azure.cn"},
			[]string{
				"", "http://shop.vault.azure.net", "https://vault.azure.net", "https://shop.vault.azure.net.evil.example", "https://a@shop.vault.azure.net", "https://shop.vault.azure.net/x",
				"https://shop.vault.azure.net?x", "https://evil.example/.vault.azure.net", "https://shop.vault.azure.net:8443",
			},
		},
		"keys of vaults": {vaultKey, []string{"sops", "Sops-2"}, []string{"", "..", "a/b", "a?b", "a%2fb"}},
		"keys of Google": {
			googleKMS,
			[]string{"projects/example.com:shop/locations/global/keyRings/a_b/cryptoKeys/c", "projects/shop/locations/europe-west3/keyRings/a/cryptoKeys/c/cryptoKeyVersions/1"},
			[]string{"", "projects/../locations/a/keyRings/b/cryptoKeys/c", "projects/a/locations/b/keyRings/c/cryptoKeys/d:decrypt", "projects/a/locations/b/keyRings/c/cryptoKeys/d?e"},
		},
		"roles":            {role, []string{"arn:aws:iam::123456789012:role/team/shop"}, []string{"", "arn:aws:iam::123456789012:user/shop", "shop", "arn:aws:iam::123456789012:role/" + strings.Repeat("x", 513)}},
		"pools":            {pool, []string{goodPool}, []string{"", "//iam.googleapis.com/" + goodPool, "projects/1/locations/global/workloadIdentityPools/a/providers/../b", goodPool + strings.Repeat("x", 100)}},
		"service accounts": {email, []string{"", "shop@shop-1.iam.gserviceaccount.com"}, []string{"shop@example.com", "a/../b@c.iam.gserviceaccount.com", "a@b.c.iam.gserviceaccount.com", strings.Repeat("x", 101) + "@c.iam.gserviceaccount.com"}},
		"tenants":          {tenant, []string{tenantID}, []string{"", "common", "../" + tenantID, tenantID + "/x"}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, text := range tc.good {
				if err := tc.parse(text); err != nil {
					t.Errorf("%q: %v", text, err)
				}
			}
			for _, text := range tc.bad {
				if tc.parse(text) == nil {
					t.Errorf("%q is accepted", text)
				}
			}
		})
	}
	for name, err := range map[string]error{"role": second(cloud.ParseRole(nil)), "tenant": second(cloud.ParseEntraIdentity(nil))} {
		if err == nil || !strings.Contains(err.Error(), "no annotation") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestSecretsDoNotShow(t *testing.T) {
	s := cloud.Secret("hunter2")
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		if text := fmt.Sprintf(verb, s) + fmt.Sprintf(verb, cloud.Token{Value: s}); strings.Contains(text, "hunter2") || strings.Contains(text, "68756e74657232") {
			t.Errorf("%s shows %s", verb, text)
		}
	}
}
