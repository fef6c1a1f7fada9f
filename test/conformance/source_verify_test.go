// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
	"github.com/google/go-cmp/cmp"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/compliance/ledger"
	"sluice.dev/sluice/impersonation/rbac"
	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/internal/oci"
	"sluice.dev/sluice/internal/sign"
	"sluice.dev/sluice/test/charts"
	"sluice.dev/sluice/test/gitserver"
)

// Entries of Secrets with trusted keys.
const (
	sshEntry    = "team.sshpub"
	pgpEntry    = "team.asc"
	cosignEntry = "release.pub"
)

// verified is content with a source whose signature held, and that says by whom.
func verified(says ...string) func(source) error {
	return func(obj source) error {
		if err := ready(obj); err != nil {
			return err
		}
		if err := condition(obj, sourcev1.SourceVerifiedCondition, metav1.ConditionTrue, meta.SucceededReason); err != nil {
			return err
		}
		message := apimeta.FindStatusCondition(obj.GetConditions(), sourcev1.SourceVerifiedCondition).Message
		for _, want := range append([]string{"verified signature of revision"}, says...) {
			if !strings.Contains(message, want) {
				return fmt.Errorf("SourceVerified says %q, which lacks %q", message, want)
			}
		}
		return nil
	}
}

// unverified is a signature that does not hold, for a reason.
func unverified(reason string, says ...string) failure {
	return failure{reason: reason, condition: sourcev1.SourceVerifiedCondition, says: says}
}

// signers are those of Git objects.
type signers struct {
	ssh, stranger gitserver.SSHKey
	pgp           *openpgp.Entity
	ring          []byte
}

func newSigners(t *testing.T) signers {
	t.Helper()
	var s signers
	var errs [3]error
	s.ssh, errs[0] = gitserver.NewSSHKey()
	s.stranger, errs[1] = gitserver.NewSSHKey()
	var ring bytes.Buffer
	// The library makes a version 4 key, whose fingerprint is SHA-1; that is the test's business and not the product's.
	fips.Exempt(fips.OpenPGPFingerprint, func() {
		s.pgp, errs[2] = openpgp.NewEntity("Team", "", "team@example.com", nil)
		if errs[2] != nil {
			return
		}
		w, err := armor.Encode(&ring, openpgp.PublicKeyType, nil)
		errs[2] = errors.Join(err, s.pgp.Serialize(w), w.Close())
	})
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	s.ring = append(ring.Bytes(), '\n')
	return s
}

// byPGP signs as gpg does.
func (s signers) byPGP(payload []byte) (armored []byte, err error) {
	fips.Exempt(fips.OpenPGPFingerprint, func() { armored, err = gitserver.PGPSign(s.pgp, nil)(payload) })
	return armored, err
}

// testGitVerification: who must have signed what (S-42), however objects are named (W25).
func testGitVerification(t *testing.T, b *sourceBed) {
	keys := newSigners(t)
	trust := map[string][]byte{sshEntry: keys.ssh.Authorized, pgpEntry: keys.ring}
	ssh, stranger := gitserver.SSHSign(keys.ssh.Signer), gitserver.SSHSign(keys.stranger.Signer)
	for name, tc := range map[string]struct {
		commit, tag gitserver.SignFunc
		// tagged asks for the tag v1, renamed for v2, which holds the tag named v1.
		tagged, renamed bool
		sha256          bool // names the objects
		mode            sourcev1.GitVerificationMode
		trust           map[string][]byte
		want            func(source) error
	}{
		"a commit by SSH":                       {commit: ssh, mode: "HEAD", want: verified("git-ssh", sshEntry)},
		"a commit, in the old word":             {commit: ssh, mode: "head", want: verified("git-ssh", sshEntry)},
		"a commit by OpenPGP":                   {commit: keys.byPGP, mode: "HEAD", want: verified("git-openpgp", pgpEntry)},
		"a tag by SSH":                          {tag: ssh, tagged: true, mode: "Tag", want: verified("git-ssh", sshEntry)},
		"a tag by OpenPGP":                      {tag: keys.byPGP, tagged: true, mode: "Tag", want: verified("git-openpgp", pgpEntry)},
		"both":                                  {commit: ssh, tag: ssh, tagged: true, mode: "TagAndHEAD", want: verified("git-ssh", sshEntry)},
		"both, by different keys":               {commit: ssh, tag: keys.byPGP, tagged: true, mode: "TagAndHEAD", want: verified(sshEntry, pgpEntry)},
		"an unsigned commit":                    {mode: "HEAD", want: unverified("InvalidCommitSignature", "no signature").check},
		"a commit by a stranger":                {commit: stranger, mode: "HEAD", want: unverified("InvalidCommitSignature", "no trusted key").check},
		"an unsigned tag":                       {commit: ssh, tagged: true, mode: "Tag", want: unverified("InvalidGitObject", "refs/tags/v1", "not signed").check},
		"a tag by a stranger":                   {tag: stranger, tagged: true, mode: "Tag", want: unverified("InvalidTagSignature", `"v1"`, "no trusted key").check},
		"both, with an unsigned tag":            {commit: ssh, tagged: true, mode: "TagAndHEAD", want: unverified("InvalidGitObject", "not signed").check},
		"both, with a bare commit":              {tag: ssh, tagged: true, mode: "TagAndHEAD", want: unverified("InvalidCommitSignature", "no signature").check},
		"a signed tag by another name":          {tag: ssh, renamed: true, mode: "Tag", want: unverified("InvalidGitObject", "refs/tags/v2", `"v1"`).check},
		"a commit by SSH, named by SHA-256":     {sha256: true, commit: ssh, mode: "HEAD", want: verified("git-ssh", sshEntry)},
		"both by OpenPGP, named by SHA-256":     {sha256: true, commit: keys.byPGP, tag: keys.byPGP, tagged: true, mode: "TagAndHEAD", want: verified("git-openpgp", pgpEntry)},
		"an unsigned commit, named by SHA-256":  {sha256: true, mode: "HEAD", want: unverified("InvalidCommitSignature", "no signature").check},
		"a commit by a stranger and by SHA-256": {sha256: true, commit: stranger, mode: "HEAD", want: unverified("InvalidCommitSignature", "no trusted key").check},
		"a tag where there is none": {
			commit: ssh, mode: "Tag",
			want: failure{reason: "InvalidVerificationMode", condition: sourcev1.SourceVerifiedCondition, stalled: true, says: []string{"spec.ref.tag"}}.check,
		},
		"nobody is trusted":           {commit: ssh, mode: "HEAD", trust: map[string][]byte{}, want: unverified("InvalidCommitSignature", "no trusted key").check},
		"a key ring that is no such":  {commit: keys.byPGP, mode: "HEAD", trust: map[string][]byte{pgpEntry: []byte("x")}, want: unverified("InvalidCommitSignature").check},
		"an SSH key as OpenPGP entry": {commit: ssh, mode: "HEAD", trust: map[string][]byte{pgpEntry: keys.ssh.Authorized}, want: unverified("InvalidCommitSignature").check},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			init, format := gitserver.InitRepo, "sha1"
			if tc.sha256 {
				init, format = gitserver.InitSHA256Repo, "sha256"
			}
			repo := b.emptyRepo(t, init)
			id, err := repo.Commit(gitserver.CommitOptions{Files: map[string]string{"a": name}, Sign: tc.commit})
			if err != nil {
				t.Fatal(err)
			}
			o := gitserver.TagOptions{Name: "v1", Target: id, Sign: tc.tag}
			reference := sourcev1.GitRepositoryRef{Branch: "main"}
			switch {
			case tc.renamed:
				o.Ref, reference.Tag = "v2", "v2"
			case tc.tagged:
				reference.Tag = "v1"
			}
			if _, err := repo.Tag(o); err != nil {
				t.Fatal(err)
			}
			if tc.trust == nil {
				tc.trust = trust
			}
			obj := b.git(repo, func(s *sourcev1.GitRepositorySpec) {
				s.Reference, s.Verification = &reference, &sourcev1.GitRepositoryVerification{Mode: tc.mode, SecretRef: *ref(b.secret(t, tc.trust))}
			})
			b.Create(t, obj)
			b.await(t, obj, tc.want)
			if ready(obj) != nil {
				if obj.Status.Artifact != nil {
					t.Errorf("artifact %+v", obj.Status.Artifact)
				}
				return
			}
			b.download(t, obj.Status.Artifact)
			if revision := obj.Status.Artifact.Revision; !strings.HasSuffix(revision, "@"+format+":"+id) {
				t.Errorf("revision %q of commit %s", revision, id)
			}
			want := map[sourcev1.GitVerificationMode]sourcev1.GitVerificationMode{"head": "HEAD"}[tc.mode]
			if want == "" {
				want = tc.mode
			}
			if got := obj.Status.SourceVerificationMode; got == nil || *got != want {
				t.Errorf("sourceVerificationMode %v, want %q", got, want)
			}
		})
	}
	t.Run("a Secret that is missing", func(t *testing.T) {
		t.Parallel()
		obj := b.git(b.repo(t, map[string]string{"a": "b"}), func(s *sourcev1.GitRepositorySpec) {
			s.Verification = &sourcev1.GitRepositoryVerification{Mode: "HEAD", SecretRef: *ref("nowhere")}
		})
		b.Create(t, obj)
		b.await(t, obj, unverified(sourcev1.VerificationError, b.ns+"/nowhere").check)
	})
	t.Run("an unsigned commit does not replace a signed one", func(t *testing.T) {
		t.Parallel()
		repo := b.repo(t, nil)
		add := func(content string, sign gitserver.SignFunc) {
			if _, err := repo.Commit(gitserver.CommitOptions{Files: map[string]string{"a": content}, Sign: sign}); err != nil {
				t.Fatal(err)
			}
		}
		add("signed", ssh)
		obj := b.git(repo, func(s *sourcev1.GitRepositorySpec) {
			s.Verification = &sourcev1.GitRepositoryVerification{Mode: "HEAD", SecretRef: *ref(b.secret(t, trust))}
		})
		b.Create(t, obj)
		b.await(t, obj, verified())
		before := *obj.Status.Artifact
		add("unsigned", nil)
		b.ask(t, obj)
		b.await(t, obj, unverified("InvalidCommitSignature").check)
		b.keeps(t, obj, before)
		b.event(t, obj, "Warning", "InvalidCommitSignature", "no signature")
		wantRefused(t, b.Platform, rbac.Source, ledger.VerificationRefused, obj, "InvalidCommitSignature", "no signature")
		add("signed again", ssh)
		b.ask(t, obj)
		b.await(t, obj, verified())
		if got := b.download(t, obj.Status.Artifact)["a"]; got != "signed again" {
			t.Errorf("content %q", got)
		}
	})
	t.Run("keys that change are noticed without a new commit", func(t *testing.T) {
		t.Parallel()
		repo := b.repo(t, nil)
		if _, err := repo.Commit(gitserver.CommitOptions{Files: map[string]string{"a": "b"}, Sign: ssh}); err != nil {
			t.Fatal(err)
		}
		secret := b.secret(t, trust)
		obj := b.git(repo, func(s *sourcev1.GitRepositorySpec) {
			s.Verification = &sourcev1.GitRepositoryVerification{Mode: "HEAD", SecretRef: *ref(secret)}
		})
		b.Create(t, obj)
		b.await(t, obj, verified(sshEntry))
		before := *obj.Status.Artifact
		b.setSecret(t, secret, map[string][]byte{sshEntry: keys.stranger.Authorized})
		b.ask(t, obj)
		b.await(t, obj, unverified("InvalidCommitSignature", "no trusted key").check)
		b.withdrawn(t, obj, before)
		b.setSecret(t, secret, map[string][]byte{"other.sshpub": keys.ssh.Authorized})
		b.ask(t, obj)
		b.await(t, obj, verified("other.sshpub"))
		b.serves(t, obj, before)
	})
	t.Run("verification that is asked for later is done", func(t *testing.T) {
		t.Parallel()
		obj := b.git(b.repo(t, map[string]string{"a": "b"}))
		b.Create(t, obj)
		b.await(t, obj, ready)
		before := *obj.Status.Artifact
		if apimeta.FindStatusCondition(obj.Status.Conditions, sourcev1.SourceVerifiedCondition) != nil {
			t.Errorf("%+v", obj.Status.Conditions)
		}
		b.change(t, obj, `{"verify":{"mode":"HEAD","secretRef":{"name":"`+b.secret(t, trust)+`"}}}`)
		b.await(t, obj, unverified("InvalidCommitSignature", "no signature").check)
		b.withdrawn(t, obj, before)
		b.change(t, obj, `{"verify":null}`)
		b.await(t, obj, ready)
		b.serves(t, obj, before)
		if apimeta.FindStatusCondition(obj.Status.Conditions, sourcev1.SourceVerifiedCondition) != nil {
			t.Errorf("%+v", obj.Status.Conditions)
		}
	})
}

// keeps checks that the artifact is the one it was, and is still served.
func (b *sourceBed) keeps(t *testing.T, obj source, before meta.Artifact) {
	t.Helper()
	if diff := cmp.Diff(before, *obj.GetArtifact()); diff != "" {
		t.Errorf("artifact (-before +after):\n%s", diff)
	}
	b.download(t, obj.GetArtifact())
}

func newCosignKey(t *testing.T) *sign.Key {
	t.Helper()
	private, _, err := sign.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	backend, err := fips.New()
	if err != nil {
		t.Fatal(err)
	}
	key, err := sign.LoadKey(t.Context(), backend, fips.KeyRef{PEM: private})
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func cosignBy(t *testing.T, to *oci.Client, digest string, key *sign.Key, scheme sign.Scheme) {
	t.Helper()
	if err := sign.Cosign(t.Context(), to, digest, key, scheme); err != nil {
		t.Fatal(err)
	}
}

// byKeys asks for verification with the keys of a Secret.
func byKeys(secret string) ociSpec {
	return func(s *sourcev1.OCIRepositorySpec) {
		s.Verify = &sourcev1.OCIRepositoryVerification{Provider: "cosign", SecretRef: ref(secret)}
	}
}

// testCosign: keyed and keyless signatures (S-56, S-57, S-59).
func testCosign(t *testing.T, b *sourceBed) {
	key, other := newCosignKey(t), newCosignKey(t)
	trust := map[string][]byte{cosignEntry: key.PublicPEM()}
	for name, tc := range map[string]struct {
		by     []*sign.Key
		scheme sign.Scheme
		trust  map[string][]byte
		want   func(source) error
	}{
		"the tag scheme":                         {by: []*sign.Key{key}, scheme: sign.TagScheme, want: verified("cosign-key", cosignEntry)},
		"a bundle":                               {by: []*sign.Key{key}, scheme: sign.BundleScheme, want: verified("cosign-key", cosignEntry)},
		"a bundle over the manifest":             {by: []*sign.Key{key}, scheme: sign.MessageScheme, want: verified("cosign-key", cosignEntry)},
		"any key of several":                     {by: []*sign.Key{key}, trust: map[string][]byte{"a.pub": other.PublicPEM(), "b.pub": key.PublicPEM()}, want: verified("b.pub")},
		"any signature of several":               {by: []*sign.Key{other, key}, want: verified(cosignEntry)},
		"entries by another suffix do not count": {by: []*sign.Key{key}, trust: map[string][]byte{"key.pem": key.PublicPEM()}, want: unverified(sourcev1.VerificationError, "*.pub").check},
		"no signature":                           {want: unverified(sourcev1.VerificationError, "sign").check},
		"a signature by a stranger":              {by: []*sign.Key{other}, want: unverified(sourcev1.VerificationError, cosignEntry).check},
		"a bundle by a stranger":                 {by: []*sign.Key{other}, scheme: sign.BundleScheme, want: unverified(sourcev1.VerificationError, cosignEntry).check},
		"one key that is none":                   {by: []*sign.Key{key}, trust: map[string][]byte{"a.pub": key.PublicPEM(), "b.pub": []byte("x")}, want: unverified(sourcev1.VerificationError, `"b.pub"`).check},
		"a private key by mistake":               {by: []*sign.Key{key}, trust: map[string][]byte{"a.pub": b.key}, want: unverified(sourcev1.VerificationError, `"a.pub"`, "private key").check},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			repository := b.name("cosign")
			to := b.pusher(t, repository)
			digest := push(t, to, "latest", map[string]string{"a": name})
			for _, key := range tc.by {
				cosignBy(t, to, digest, key, tc.scheme)
			}
			if tc.trust == nil {
				tc.trust = trust
			}
			obj := b.oci(repository, byKeys(b.secret(t, tc.trust)))
			b.Create(t, obj)
			b.await(t, obj, tc.want)
			if ready(obj) == nil {
				b.download(t, obj.Status.Artifact)
				return
			}
			if obj.Status.Artifact != nil {
				t.Errorf("artifact %+v", obj.Status.Artifact)
			}
			b.neverPulled(t, repository, to, digest)
		})
	}
	t.Run("a Secret that is missing", func(t *testing.T) {
		t.Parallel()
		push(t, b.pusher(t, "no-secret"), "latest", map[string]string{"a": "b"})
		obj := b.oci("no-secret", byKeys("nowhere"))
		b.Create(t, obj)
		b.await(t, obj, unverified(sourcev1.VerificationError, b.ns+"/nowhere").check)
	})
	t.Run("an unsigned artifact does not replace a signed one", func(t *testing.T) {
		t.Parallel()
		to := b.pusher(t, "replaced")
		cosignBy(t, to, push(t, to, "latest", map[string]string{"a": "signed"}), key, sign.TagScheme)
		obj := b.oci("replaced", byKeys(b.secret(t, trust)))
		b.Create(t, obj)
		b.await(t, obj, verified())
		before := *obj.Status.Artifact
		digest := push(t, to, "latest", map[string]string{"a": "unsigned"})
		b.ask(t, obj)
		b.await(t, obj, unverified(sourcev1.VerificationError).check)
		b.keeps(t, obj, before)
		wantRefused(t, b.Platform, rbac.Source, ledger.VerificationRefused, obj, sourcev1.VerificationError)
		cosignBy(t, to, digest, key, sign.BundleScheme)
		b.ask(t, obj)
		b.await(t, obj, verified())
		if got := b.download(t, obj.Status.Artifact)["a"]; got != "unsigned" {
			t.Errorf("content %q", got)
		}
	})
	t.Run("keys that change are noticed without a new artifact", func(t *testing.T) {
		t.Parallel()
		to := b.pusher(t, "rotated")
		cosignBy(t, to, push(t, to, "latest", map[string]string{"a": "b"}), key, sign.TagScheme)
		secret := b.secret(t, trust)
		obj := b.oci("rotated", byKeys(secret))
		b.Create(t, obj)
		b.await(t, obj, verified(cosignEntry))
		before := *obj.Status.Artifact
		b.setSecret(t, secret, map[string][]byte{cosignEntry: other.PublicPEM()})
		b.ask(t, obj)
		b.await(t, obj, unverified(sourcev1.VerificationError, cosignEntry).check)
		b.withdrawn(t, obj, before)
		b.setSecret(t, secret, map[string][]byte{"renamed.pub": key.PublicPEM()})
		b.ask(t, obj)
		b.await(t, obj, verified("renamed.pub"))
		b.serves(t, obj, before)
		b.event(t, obj, "Normal", "NewArtifact", "stored artifact for digest")
	})
	testKeyless(t, b)
}

// neverPulled checks that nobody asked for an artifact's layer: verification comes first.
func (b *sourceBed) neverPulled(t *testing.T, repository string, to *oci.Client, digest string) {
	t.Helper()
	manifest, err := to.Manifest(t.Context(), digest)
	if err != nil {
		t.Fatal(err)
	}
	document, err := manifest.Parse()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range b.plain.Requests() {
		if r == "GET /v2/"+repository+"/blobs/"+document.Layers[0].Digest {
			t.Errorf("the layer was pulled: %s", r)
		}
	}
}

// tenantKeys are those that the platform trusts for its tenant: the parameters are written before any test runs.
type tenantKeys struct {
	ssh, strangerSSH gitserver.SSHKey
	cosign, stranger *sign.Key
	// charts signs charts for the platform, strangerCharts for nobody.
	charts, strangerCharts releaser
}

// swapped believes the strangers instead.
func (k tenantKeys) swapped() tenantKeys {
	return tenantKeys{
		ssh: k.strangerSSH, strangerSSH: k.ssh, cosign: k.stranger, stranger: k.cosign, charts: k.strangerCharts, strangerCharts: k.charts,
	}
}

// tenantTrust is a tenant's entry of the parameters after its sources.
func tenantTrust(k tenantKeys) string {
	text := "    verification:\n      required: true\n      keys:\n"
	for name, key := range map[string][]byte{"maintainer": k.ssh.Authorized, "release": k.cosign.PublicPEM(), "charts": k.charts.ring} {
		text += fmt.Sprintf("      - {name: %s, publicKey: %q}\n", name, key)
	}
	return text
}

func newTenantKeys(t *testing.T) tenantKeys {
	t.Helper()
	ssh, err := gitserver.NewSSHKey()
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := gitserver.NewSSHKey()
	if err != nil {
		t.Fatal(err)
	}
	return tenantKeys{
		ssh: ssh, strangerSSH: stranger, cosign: newCosignKey(t), stranger: newCosignKey(t),
		charts: newReleaser(t, packet.Config{RSABits: 2048}), strangerCharts: newReleaser(t, packet.Config{RSABits: 2048}),
	}
}

// testTenantTrust: in a tenant's namespace the platform says who is believed, and the tenant's own keys count for nothing.
func testTenantTrust(t *testing.T, b *sourceBed) {
	tenant := b.Tenants[0]
	gitOf := func(t *testing.T, signer gitserver.SSHKey) *sourcev1.GitRepository {
		repo := b.repo(t, nil)
		if _, err := repo.Commit(gitserver.CommitOptions{Files: map[string]string{"a": "b"}, Sign: gitserver.SSHSign(signer.Signer)}); err != nil {
			t.Fatal(err)
		}
		obj := b.git(repo, func(s *sourcev1.GitRepositorySpec) {
			own := b.secretIn(t, tenant, map[string][]byte{sshEntry: b.tenants.strangerSSH.Authorized})
			s.Verification = &sourcev1.GitRepositoryVerification{Mode: "HEAD", SecretRef: *ref(own)}
		})
		obj.Namespace = tenant
		return obj
	}
	ociOf := func(t *testing.T, key *sign.Key) *sourcev1.OCIRepository {
		repository := b.name("tenant")
		to := b.pusher(t, repository)
		cosignBy(t, to, push(t, to, "latest", map[string]string{"a": "b"}), key, sign.TagScheme)
		obj := b.oci(repository, byKeys(b.secretIn(t, tenant, map[string][]byte{cosignEntry: b.tenants.stranger.PublicPEM()})))
		obj.Namespace = tenant
		return obj
	}
	for name, tc := range map[string]struct {
		obj  func(t *testing.T) source
		want func(source) error
	}{
		"git by the platform's key": {func(t *testing.T) source { return gitOf(t, b.tenants.ssh) }, verified("maintainer")},
		"git by the tenant's own": {
			func(t *testing.T) source { return gitOf(t, b.tenants.strangerSSH) }, unverified("InvalidCommitSignature", "no trusted key").check,
		},
		"oci by the platform's key": {func(t *testing.T) source { return ociOf(t, b.tenants.cosign) }, verified("release")},
		"oci by the tenant's own": {
			func(t *testing.T) source { return ociOf(t, b.tenants.stranger) }, unverified(sourcev1.VerificationError, "release").check,
		},
		"git without verification": {
			func(t *testing.T) source {
				obj := gitOf(t, b.tenants.ssh)
				obj.Spec.Verification = nil
				return obj
			}, failure{reason: "PolicyDenied", says: []string{"sluice-4", "spec.verify"}}.check,
		},
		"git from elsewhere": {
			func(t *testing.T) source {
				obj := gitOf(t, b.tenants.ssh)
				obj.Spec.URL = "https://git.example/app"
				return obj
			}, failure{reason: "PolicyDenied", says: []string{"sluice-3", "git.example"}}.check,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			obj := tc.obj(t)
			b.Create(t, obj)
			b.await(t, obj, tc.want)
			if (ready(obj) == nil) != (obj.GetArtifact() != nil) {
				t.Errorf("artifact %+v of %+v", obj.GetArtifact(), obj.GetConditions())
			}
		})
	}
	t.Run("charts", func(t *testing.T) { t.Parallel(); tenantCharts(t, b) })
	t.Run("a change of the parameters is noticed at once", func(t *testing.T) {
		t.Parallel()
		obj, former := ociOf(t, b.tenants.cosign), ociOf(t, b.tenants.stranger)
		for _, o := range []*sourcev1.OCIRepository{obj, former} {
			o.Namespace, o.Spec.Verify.SecretRef = b.Tenants[1], nil
			b.Create(t, o)
		}
		formerGit := gitOf(t, b.tenants.strangerSSH)
		formerGit.Namespace = b.Tenants[1]
		b.Create(t, formerGit)
		b.await(t, obj, unverified(sourcev1.VerificationError, "release").check)
		b.await(t, former, verified("release"))
		b.await(t, formerGit, verified("maintainer"))
		before, beforeGit := *former.Status.Artifact, *formerGit.Status.Artifact
		b.SetParameters(t, b.grants(b.Namespace, b.Tenants, b.tenants, b.tenants))
		b.await(t, obj, verified("release"))
		b.event(t, obj, "Normal", "NewArtifact", "stored artifact")
		b.await(t, former, unverified(sourcev1.VerificationError, "release").check)
		b.withdrawn(t, former, before)
		b.await(t, formerGit, unverified("InvalidCommitSignature", "no trusted key").check)
		b.withdrawn(t, formerGit, beforeGit)
	})
}

// tenantCharts: charts of a tenant are verified as its other sources are, by the platform's keys (rule 4).
func tenantCharts(t *testing.T, b *sourceBed) {
	tenant := b.Tenants[0]
	repo, folder := b.name("tenant"), b.name("tenant")
	b.signedChart(t, repo, "signed", b.tenants.charts)
	b.signedChart(t, repo, "foreign", b.tenants.strangerCharts)
	index := b.helm(repo)
	registry := b.helm("", func(s *sourcev1.HelmRepositorySpec) {
		s.Type, s.URL, s.Insecure = sourcev1.HelmRepositoryTypeOCI, b.plain.URL()+"/"+folder, true
	})
	to := b.pusher(t, folder+"/app")
	cosignBy(t, to, pushChart(t, to, "app", "1.0.0"), b.tenants.cosign, sign.TagScheme)
	files := below("app", charts.Files("app", "1.0.0"))
	maps.Copy(files, below("needy", charts.Files("needy", "1.0.0")))
	files["needy/Chart.yaml"] += fmt.Sprintf("dependencies:\n- {name: signed, version: 1.x, repository: %q}\n", b.charts.open.URL+"/"+repo)
	git := b.repo(t, nil)
	if _, err := git.Commit(gitserver.CommitOptions{Files: files, Sign: gitserver.SSHSign(b.tenants.ssh.Signer)}); err != nil {
		t.Fatal(err)
	}
	tree := b.git(git, func(s *sourcev1.GitRepositorySpec) {
		s.Verification = &sourcev1.GitRepositoryVerification{Mode: "HEAD", SecretRef: *ref("none")}
	})
	for _, from := range []source{index, registry, tree} {
		from.SetNamespace(tenant)
		b.Create(t, from)
	}
	byKey := func(s *sourcev1.HelmChartSpec) { s.Verify = &sourcev1.HelmChartVerification{Provider: "cosign"} }
	denied := failure{reason: "PolicyDenied", says: []string{"sluice-4", "spec.verify"}}.check
	for name, tc := range map[string]struct {
		from  source
		chart string
		ask   func(*sourcev1.HelmChartSpec)
		want  func(source) error
	}{
		"of an index, by the platform's key":    {index, "signed", byRing("none"), verified("helm-provenance", "charts")},
		"of an index, by somebody":              {index, "foreign", byRing("none"), refusedChart("whom no trusted key names").check},
		"of an index, without verification":     {index, "signed", nil, denied},
		"of a registry, by the platform's key":  {registry, "app", byKey, verified("cosign-key", "release")},
		"of a registry, without verification":   {registry, "app", nil, denied},
		"of Git":                                {tree, "app", nil, ready[source]},
		"of Git, with dependencies from a repo": {tree, "needy", nil, refusedChart("charts/ folder").check},
		"of a Bucket": {
			tree, "app", func(s *sourcev1.HelmChartSpec) {
				s.SourceRef = sourcev1.LocalHelmChartSourceReference{Kind: sourcev1.BucketKind, Name: "any"}
			},
			failure{reason: "PolicyDenied", says: []string{"sluice-4", "Bucket"}}.check,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			obj := b.chart(tc.from, tc.chart)
			if tc.ask != nil {
				tc.ask(&obj.Spec)
			}
			b.Create(t, obj)
			b.await(t, obj, tc.want)
			if (ready(obj) == nil) != (obj.Status.Artifact != nil) {
				t.Errorf("artifact %+v of %+v", obj.Status.Artifact, obj.Status.Conditions)
			}
			if obj.Status.Artifact != nil && !b.claim(t, obj).Verified() {
				t.Errorf("claim %+v", b.claim(t, obj))
			}
		})
	}
}
