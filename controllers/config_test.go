// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"sluice.dev/sluice/controllers"
)

// parse binds the flags, with an environment, and parses arguments.
func parse(t *testing.T, env map[string]string, args ...string) (controllers.Config, *pflag.FlagSet, error) {
	t.Helper()
	c := controllers.NewConfig()
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	c.Bind(fs, func(name string) (string, bool) { v, ok := env[name]; return v, ok })
	return c, fs, fs.Parse(args)
}

func TestValidate(t *testing.T) {
	all := "--controllers=source,kustomize"
	tests := map[string]struct {
		args []string
		says string // empty: valid
	}{
		"Flux's defaults with all controllers": {args: []string{all}},
		"no controller":                        {says: "--controllers: name at least one of source, kustomize"},
		"an unknown controller":                {args: []string{"--controllers=sauce"}, says: `"sauce" is none of source, kustomize`},
		"a namespace that cannot be":           {args: []string{all, "--platform-namespaces=Team_A"}, says: `namespace "Team_A"`},
		"an address without a port":            {args: []string{all, "--metrics-addr=localhost"}, says: "--metrics-addr"},
		"no metrics":                           {args: []string{all, "--metrics-addr=0"}},
		"a selector that cannot be read":       {args: []string{all, "--watch-label-selector=a=b=c"}, says: "--watch-label-selector"},
		"retention of nothing":                 {args: []string{all, "--artifact-retention-records=0"}, says: "--artifact-retention-records"},
		"a retry that shrinks":                 {args: []string{all, "--min-retry-delay=1h"}, says: "--min-retry-delay"},
		"a jitter beyond the interval":         {args: []string{all, "--interval-jitter-percentage=101"}, says: "--interval-jitter-percentage"},
		"a log nobody writes":                  {args: []string{all, "--log-encoding=xml"}, says: "--log-encoding"},
		"no worker":                            {args: []string{all, "--concurrent=0"}, says: "--concurrent"},
		"a default account that cannot be":     {args: []string{all, "--default-service-account=a/b"}, says: "--default-service-account"},
		"a default account for decryption":     {args: []string{all, "--default-decryption-service-account=a/b"}, says: "--default-decryption-service-account"},
		"a ConfigMap that cannot be":           {args: []string{all, "--sops-vault-configmap=a/b"}, says: "--sops-vault-configmap"},
		"age where it is refused":              {args: []string{all, "--sops-age-secret=keys"}, says: "--sops-age-secret: age (X25519, scrypt, ChaCha20-Poly1305) is refused by the FIPS policy"},
		"age where it is tolerated":            {args: []string{all, "--sops-age-secret=keys", "--fips-profile=standard"}},
		"configs that cannot be chosen":        {args: []string{all, "--watch-configs-label-selector=a=b=c"}, says: "--watch-configs-label-selector"},
		"configs of any label":                 {args: []string{all, "--watch-configs-label-selector="}},
		"a scrub before time":                  {args: []string{all, "--artifact-scrub-interval=-1s"}, says: "--artifact-scrub-interval"},
		"a peer without an election":           {args: []string{all, "--artifact-peer=http://a"}, says: "set --enable-leader-election"},
		"named clients of our own authority":   {args: []string{all, "--artifact-tls-addr=:9443", "--artifact-tls-clients=a"}, says: "set --artifact-tls-dir"},
		"named clients of the operator's":      {args: []string{all, "--artifact-tls-addr=:9443", "--artifact-tls-dir=/tls", "--artifact-tls-clients=a"}},
		"artifacts served nowhere":             {args: []string{all, "--storage-addr=0"}, says: "--storage-addr=0 leaves artifacts unserved: set --artifact-tls-addr"},
		"artifacts by digest only":             {args: []string{all, "--storage-addr=0", "--artifact-tls-addr=:9443"}},
		"certificates for no server":           {args: []string{all, "--artifact-tls-dir=/tls"}, says: "mean nothing without --artifact-tls-addr"},
		"names in a certificate that is given": {args: []string{all, "--artifact-tls-addr=:9443", "--artifact-tls-dir=/tls", "--artifact-tls-names=a"}, says: "set one of them"},
		"a client certificate over http":       {args: []string{all, "--artifact-client-tls=/tls", "--artifact-server=http://a"}, says: "begins with https://"},
		"a manager without a name":             {args: []string{all, "--override-manager="}, says: "--override-manager"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			c, _, err := parse(t, nil, tc.args...)
			if err != nil {
				t.Fatal(err)
			}
			err = c.Validate()
			if tc.says == "" && err != nil {
				t.Errorf("refused: %v", err)
			}
			if tc.says != "" && (err == nil || !strings.Contains(err.Error(), tc.says)) {
				t.Errorf("error %v, want it to say %q", err, tc.says)
			}
		})
	}
}

func TestEnvironmentStandsInForFlags(t *testing.T) {
	env := map[string]string{
		"RUNTIME_NAMESPACE": "gitops", "METRICS_ADDR": ":1", "EVENTS_ADDR": "http://nc", "STORAGE_ADDRESS": ":2", "STORAGE_PATH": "/d", "STORAGE_ADV_ADDR": "sc",
	}
	c, _, err := parse(t, env, "--metrics-addr=:3")
	if err != nil {
		t.Fatal(err)
	}
	got := []string{c.RuntimeNamespace, c.MetricsAddr, c.EventsAddr, c.StorageAddr, c.Storage.Path, c.Storage.AdvertisedAddr}
	want := []string{"gitops", ":3", "http://nc", ":2", "/d", "sc"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
	if !c.IsPlatform("gitops") || c.IsPlatform("flux-system") {
		t.Error("the manager's own namespace is the platform's, and no other")
	}
}

// TestFluxFlags runs the flags that Flux 2.9's manifests and users set: each is understood, named as idle, or refused by
// name with the reason.
func TestFluxFlags(t *testing.T) {
	tests := map[string]struct {
		args []string
		idle []string
		says string
	}{
		"those of the source controller's manifest": {args: []string{
			"--events-addr=http://notification-controller.flux-system.svc.cluster.local./", "--watch-all-namespaces=true", "--log-level=info",
			"--log-encoding=json", "--enable-leader-election", "--storage-path=/data", "--storage-adv-addr=source-controller.flux-system.svc.cluster.local.",
		}},
		"those of a server by digest only": {args: []string{"--controllers=source", "--storage-addr=0", "--artifact-tls-addr=:9443", "--artifact-tls-names=a,10.0.0.1"}},
		"those without effect": {
			args: []string{"--controllers=source,kustomize", "--http-retry=3", "--feature-gates=CacheSecretsAndConfigMaps=true"},
			idle: []string{"--feature-gates=CacheSecretsAndConfigMaps=true", "--http-retry"},
		},
		"those of the kustomize controller with effect": {args: []string{
			"--controllers=kustomize", "--concurrent=2", "--concurrent-ssa=2", "--requeue-dependency=5s", "--no-cross-namespace-refs",
			"--default-service-account=deployer", "--custom-apply-stage-kinds=rbac.authorization.k8s.io/Role", "--override-manager=one", "--override-manager=two", "--watch-configs-label-selector=a=b",
			"--feature-gates=DisableConfigWatchers=true,GroupChangeLog=true",
		}},
		"the one digest algorithm":           {args: []string{"--artifact-digest-algo=sha256"}},
		"another digest algorithm":           {args: []string{"--artifact-digest-algo=blake3"}, says: "--artifact-digest-algo=blake3 is refused"},
		"a default account without its gate": {args: []string{"--default-decryption-service-account=x"}, says: "needs --feature-gates=ObjectLevelWorkloadIdentity=true"},
		"a default account with its gate": {
			args: []string{"--default-kubeconfig-service-account=x", "--controllers=kustomize", "--feature-gates=ObjectLevelWorkloadIdentity=true"},
			idle: []string{"--default-kubeconfig-service-account"},
		},
		"remote bases off":                    {args: []string{"--no-remote-bases"}},
		"remote bases on":                     {args: []string{"--no-remote-bases=false"}, says: "--no-remote-bases=false is refused"},
		"programs named by a kubeconfig":      {args: []string{"--insecure-kubeconfig-exec"}, says: "--insecure-kubeconfig-exec is refused"},
		"clusters without a certificate":      {args: []string{"--insecure-kubeconfig-tls=true"}, says: "--insecure-kubeconfig-tls is refused"},
		"those programs switched off by name": {args: []string{"--insecure-kubeconfig-exec=false"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			_, fs, err := parse(t, nil, tc.args...)
			if err != nil {
				t.Fatal(err)
			}
			idle, err := controllers.CheckFlags(fs)
			if tc.says != "" && (err == nil || !strings.Contains(err.Error(), tc.says)) || tc.says == "" && err != nil {
				t.Errorf("error %v, want it to say %q", err, tc.says)
			}
			if diff := cmp.Diff(tc.idle, idle); diff != "" {
				t.Errorf("idle flags (-want +got):\n%s", diff)
			}
		})
	}
}

func TestUnknownFlagIsRefused(t *testing.T) {
	if _, _, err := parse(t, nil, "--no-such-flag"); err == nil || !strings.Contains(err.Error(), "no-such-flag") {
		t.Errorf("error %v", err)
	}
}
