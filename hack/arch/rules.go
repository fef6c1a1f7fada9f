// SPDX-License-Identifier: Apache-2.0

package arch

// module is the path of the product's Go module.
const module = "sluice.dev/sluice"

// room is a part of the tree: the folder and everything below it that is no room of its own.
type room struct {
	path string
	// may lists the other rooms it may import, beside the standard library and third-party modules.
	may []string
}

// rooms lists every room, lower layers first. A folder in no room fails the test.
func rooms() []room {
	return []room{
		// Leaves: they know nothing of the product.
		{"internal/fault", nil},
		{"internal/build", nil},
		{"internal/filetree", nil},
		{"internal/fips", []string{"internal/fault"}},
		{"internal/transport", []string{"internal/fault", "internal/fips"}},

		// Reaching out, and believing what came back.
		{"internal/cloud", []string{"internal/fips", "internal/transport"}},
		{"internal/github", []string{"internal/fips", "internal/transport"}},
		{"internal/verify", []string{"internal/chart", "internal/fault", "internal/fips", "internal/oci", "internal/sign", "internal/transport"}},
		{"internal/sign", []string{"internal/fault", "internal/fips", "internal/oci", "internal/transport"}},
		{"internal/oci", []string{"internal/fault", "internal/fips", "internal/transport"}},
		{"internal/git", []string{"internal/fault", "internal/fips", "internal/transport"}},
		{"internal/chart", []string{"internal/fault", "internal/fips", "internal/transport"}},
		{"internal/bucket", []string{"internal/cloud", "internal/fault", "internal/filetree", "internal/fips", "internal/transport"}},

		// Deciding.
		{"policy", []string{"internal/fault"}},
		{"policy/rules", nil},
		{"policy/parameters", []string{"internal/verify"}},
		{"policy/engine", []string{"policy", "policy/parameters", "policy/rules", "internal/fault", "internal/fips"}},
		{"impersonation", []string{"internal/cloud", "internal/fault", "internal/fips", "internal/transport"}},
		{"compliance/ledger", []string{"internal/fault", "internal/fips"}},

		// Acting as whoever runs a command. No controller may import it: it would act as itself.
		{"impersonation/self", []string{"impersonation"}},

		// Acting.
		{"controllers/internal", []string{"internal/fault", "internal/filetree", "internal/fips", "internal/transport", "internal/verify", "impersonation", "policy"}},
		{"controllers/internal/evidence", []string{"compliance/ledger", "controllers/internal", "internal/fault", "internal/verify"}},
		{"controllers/source", []string{
			"controllers/internal", "controllers/internal/evidence", "impersonation", "internal/bucket", "internal/build", "internal/chart", "internal/cloud",
			"internal/fault", "internal/filetree", "internal/fips", "internal/git", "internal/github", "internal/oci", "internal/sign", "internal/transport", "internal/verify",
			"policy", "policy/parameters",
		}},
		{"controllers/kustomize", []string{
			"controllers/internal", "controllers/internal/evidence", "impersonation", "internal/build", "internal/cloud", "internal/fault", "internal/fips",
			"internal/transport", "internal/verify", "policy", "compliance/ledger",
		}},
		// What a run of the controller would do, for people: the same code, reading and rehearsing only.
		{"controllers/kustomize/preview", []string{
			"controllers/internal", "controllers/kustomize", "impersonation", "internal/fault", "internal/fips", "policy", "policy/engine",
			"policy/parameters",
		}},
		{"controllers", []string{
			"controllers/internal", "controllers/source", "controllers/kustomize", "compliance/ledger", "impersonation", "internal/build",
			"internal/chart", "internal/cloud", "internal/fault", "internal/fips", "internal/git", "internal/oci", "internal/sign", "internal/transport", "internal/verify", "policy",
			"policy/engine", "policy/parameters",
		}},

		// What ships and what people run.
		{"distro/manifests", nil},
		{"distro/cli", []string{
			"compliance/ledger", "controllers/kustomize/preview", "impersonation", "impersonation/self", "internal/build", "internal/fips",
		}},
		{"cmd", []string{"controllers", "distro/cli", "internal/build", "internal/fips"}},

		// Tests, tools and examples may look everywhere they need to; nothing imports them but tests.
		{"internal/kubetest", anything},
		{"test", anything},
		{"hack", anything},
	}
}

// anything marks a room that may import every other.
var anything = []string{"*"} // a constant that Go cannot write as one

// testOnly are rooms that only tests, tools and each other may import.
func testOnly() []string { return []string{"internal/kubetest", "test", "hack"} }

// owner says which packages alone may import a module or a package of the standard library. Each is heavy, dangerous,
// or both.
type owner struct {
	imports string
	by      []string
	why     string
}

func owners() []owner {
	tools := []string{"hack", "test", "internal/kubetest"}
	return []owner{
		{"github.com/open-policy-agent/opa", []string{"policy/engine"}, "one place guards evaluation"},
		{"github.com/sigstore", []string{"internal/verify", "internal/sign"}, "signatures are believed in one place"},
		{"github.com/notaryproject", []string{"internal/verify/notation", "test/notary"}, "signatures are believed in one place"},
		{"github.com/microsoft/go-crypto-openssl", []string{"internal/fips"}, "the module behind a seam"},
		{"crypto/tls", []string{"internal/transport"}, "one TLS profile"},
		{"crypto/md5", []string{"internal/fips"}, "not approved"},
		{"crypto/sha1", []string{"internal/fips"}, "not approved"},
		{"crypto/rc4", []string{"internal/fips"}, "not approved"},
		{"crypto/des", []string{"internal/fips"}, "not approved"},
		{"golang.org/x/crypto/chacha20", []string{"internal/fips"}, "not approved"},
		{"golang.org/x/crypto/chacha20poly1305", []string{"internal/fips"}, "not approved"},
		{"github.com/go-git/go-git/v5/plumbing/format/gitignore", []string{"controllers/internal/artifact"}, "ignore rules of an archive"},
		{"github.com/go-git/go-git", []string{"internal/git", "internal/verify/gitsig", "controllers/internal/artifact"}, "Git is one room"},
		{
			"github.com/ProtonMail/go-crypto",
			[]string{"internal/verify/pgp", "controllers/kustomize/decrypt/unwrap"},
			"OpenPGP: signatures are believed in one place, data keys opened in another",
		},
		{"filippo.io/age", []string{"controllers/kustomize/decrypt/unwrap"}, "not approved: behind the FIPS profile"},
		{"gopkg.in/ini.v1", []string{"controllers/kustomize/decrypt/sops"}, "a format of SOPS"},
		{"github.com/google/go-containerregistry", []string{"internal/oci", "internal/verify/cosign", "internal/sign"}, "registries are one room"},
		{"sigs.k8s.io/kustomize", []string{"controllers/kustomize/render"}, "one renderer"},
		{"github.com/google/cel-go", []string{"controllers/internal/expression"}, "one place bounds evaluation"},
		{"github.com/spf13/cobra", []string{"distro/cli", "cmd"}, "commands live in the CLI"},
		{"os/exec", tools, "the product starts no programs"},
		{"plugin", nil, "the product loads no code"},
	}
}

// seals are packages whose importers are named one by one: they hold the keys to the constructors of capabilities.
func seals() map[string][]string {
	return map[string][]string{
		"internal/verify/internal/seal": {"internal/verify", "internal/verify/attest", "internal/verify/waiver"},
		"internal/verify/waiver":        {"policy/parameters"},
		"impersonation/internal/seal":   {"impersonation", "impersonation/clusters", "impersonation/self", "impersonation/tokens"},
	}
}

// dangers are names that switch a protection off, with the packages that may name them.
func dangers() map[string][]string {
	return map[string][]string{
		"RunWithDeciderUnsafe": {"controllers", "test/bench/cmd/bare"},
	}
}

// emptyNames say nothing about what is inside (STYLE.md §4).
func emptyNames() []string {
	return []string{"util", "utils", "common", "helper", "helpers", "misc", "base", "shared"}
}
