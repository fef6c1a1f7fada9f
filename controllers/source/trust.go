// SPDX-License-Identifier: Apache-2.0

package source

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/internal/verify"
)

// trustedRootKey is the entry of a Secret with a private Sigstore's trusted root (spec row S-57).
const trustedRootKey = "trusted_root.json"

// trust returns whom to believe for a source. In a tenant's namespace that is what the platform's parameters say, and
// the object's own references are not looked at: a tenant does not choose its judge (policy rule 4). Of the parameters'
// keys, fit keeps those that such a source can be signed with. In a platform namespace the object's references count.
func (c Config) trust(namespace string, fit func([]verify.Key) []verify.Key, own func() (verify.Policy, error)) (verify.Policy, error) {
	if c.IsPlatform(namespace) {
		p, err := own()
		if f, ok := errors.AsType[*fault.Fault](err); ok && f.Kind != fault.Invalid {
			f.Reason, f.Condition = sourcev1.VerificationError, sourcev1.SourceVerifiedCondition // keys that are missing are no failed fetch
		}
		return p, err
	}
	p := c.Grants().For(namespace).Verification.Policy()
	if p.Keys = fit(p.Keys); p.Empty() {
		return verify.Policy{}, untrusting(
			"the platform names no trusted key and no trusted identity for namespace %q: ask the platform team to add one to the policy parameters", namespace)
	}
	return p, nil
}

// untrusting is a fault about a policy that believes nobody.
func untrusting(format string, args ...any) error {
	return fault.NewOn(sourcev1.SourceVerifiedCondition, fault.Denied, sourcev1.VerificationError, format, args...)
}

// gitTrust reads the keys of spec.verify.secretRef (spec row S-42).
func (c Config) gitTrust(ctx context.Context, obj *sourcev1.GitRepository) (verify.Policy, error) {
	return c.trust(obj.Namespace, gitKeys, func() (verify.Policy, error) {
		data, err := c.secretData(ctx, obj.Namespace, &obj.Spec.Verification.SecretRef)
		return verify.Policy{Keys: keys(data, "")}, err
	})
}

// The providers of spec.verify.
const (
	cosignProvider   = "cosign"
	notationProvider = "notation"
)

// ociTrust reads what the spec.verify of something in an OCI registry refers to (spec rows S-56 to S-58).
func (c Config) ociTrust(ctx context.Context, namespace string, v *sourcev1.OCIRepositoryVerification) (verify.Policy, error) {
	switch p := v.Provider; p {
	case cosignProvider:
		return c.cosignTrust(ctx, namespace, v)
	case notationProvider:
		return c.notationTrust(ctx, namespace, v)
	default:
		return verify.Policy{}, unsupported("spec.verify.provider: " + p)
	}
}

// cosignTrust reads keys, identities and the trusted root behind them.
func (c Config) cosignTrust(ctx context.Context, namespace string, v *sourcev1.OCIRepositoryVerification) (verify.Policy, error) {
	return c.trust(namespace, cosignKeys, func() (verify.Policy, error) {
		data, err := c.secretData(ctx, namespace, v.SecretRef)
		if err != nil {
			return verify.Policy{}, err
		}
		p := verify.Policy{Keys: keys(data, ".pub")}
		for _, m := range v.MatchOIDCIdentity {
			p.Identities = append(p.Identities, verify.IdentityMatch{Issuer: m.Issuer, Subject: m.Subject})
		}
		if err := c.addTrustedRoot(ctx, &p, namespace, v.TrustedRootSecretRef); err != nil {
			return verify.Policy{}, err
		}
		if len(p.Identities) > 0 && len(p.TrustedRoot) == 0 {
			p.TrustedRoot = c.TrustedRoot
		}
		if p.Empty() {
			return verify.Policy{}, untrusting("spec.verify names nobody to believe: give a Secret with *.pub keys, or matchOIDCIdentity with trustedRootSecretRef " +
				"or, for all sources of the platform, --sigstore-trusted-root")
		}
		return p, nil
	})
}

// trustPolicyKey is the entry of a Secret with a trust policy of the Notary Project (spec row S-58).
const trustPolicyKey = "trustpolicy.json"

// notationTrust reads a trust policy with the certificates and revocation lists beside it. In a tenant's namespace it is the
// platform's.
func (c Config) notationTrust(ctx context.Context, namespace string, v *sourcev1.OCIRepositoryVerification) (verify.Policy, error) {
	if !c.IsPlatform(namespace) {
		p := c.Grants().For(namespace).Verification.Notation.Policy()
		if p.Empty() {
			return verify.Policy{}, untrusting(
				"the platform has no trust policy of Notation for namespace %q: ask the platform team to add one to the policy parameters", namespace)
		}
		return p, nil
	}
	return c.trust(namespace, nil, func() (verify.Policy, error) {
		data, err := c.secretData(ctx, namespace, v.SecretRef)
		if err != nil {
			return verify.Policy{}, err
		}
		p := verify.Policy{TrustPolicy: data[trustPolicyKey]}
		for _, suffix := range []string{".crt", ".pem", ".crl"} {
			p.Keys = append(p.Keys, keys(data, suffix)...)
		}
		if len(p.TrustPolicy) == 0 || len(p.Keys) == 0 {
			return verify.Policy{}, untrusting("spec.verify names nobody to believe: give a Secret with %q and certificates as *.crt or *.pem", trustPolicyKey)
		}
		return p, nil
	})
}

func (c Config) addTrustedRoot(ctx context.Context, p *verify.Policy, namespace string, ref *meta.LocalObjectReference) error {
	if ref == nil {
		return nil
	}
	data, err := c.secretData(ctx, namespace, ref)
	if err != nil {
		return err
	}
	if p.TrustedRoot = data[trustedRootKey]; len(p.TrustedRoot) == 0 {
		return fault.New(fault.Retry, sourcev1.VerificationError, "secret '%s/%s' has no entry %q", namespace, ref.Name, trustedRootKey)
	}
	return nil
}

// keys returns the entries of a Secret with a suffix as keys, in the order of their names.
func keys(data map[string][]byte, suffix string) []verify.Key {
	var out []verify.Key
	for _, name := range slices.Sorted(maps.Keys(data)) {
		if strings.HasSuffix(name, suffix) {
			out = append(out, verify.Key{Name: name, Data: data[name]})
		}
	}
	return out
}

// The parameters list a namespace's keys for all its sources, and tell their kind by their armour. A Secret tells it by the
// suffix of an entry's name (spec rows S-42 and S-56), which is what the verifiers go by.
const (
	pemArmor = "-----BEGIN "
	pgpArmor = "-----BEGIN PGP "
	sshEntry = ".sshpub"
)

// gitKeys returns the SSH keys and the OpenPGP key rings.
func gitKeys(all []verify.Key) []verify.Key {
	var out []verify.Key
	for _, k := range all {
		switch {
		case armored(k, pgpArmor):
			out = append(out, k)
		case !armored(k, pemArmor):
			k.Name = strings.TrimSuffix(k.Name, sshEntry) + sshEntry
			out = append(out, k)
		}
	}
	return out
}

// cosignKeys returns the keys in PEM.
func cosignKeys(all []verify.Key) []verify.Key {
	return slices.DeleteFunc(slices.Clone(all), func(k verify.Key) bool { return !armored(k, pemArmor) || armored(k, pgpArmor) })
}

// ringKeys returns the OpenPGP key rings.
func ringKeys(all []verify.Key) []verify.Key {
	return slices.DeleteFunc(slices.Clone(all), func(k verify.Key) bool { return !armored(k, pgpArmor) })
}

func armored(k verify.Key, armor string) bool {
	return bytes.HasPrefix(bytes.TrimSpace(k.Data), []byte(armor))
}

// unsupported refuses a field by name, rather than fetching something else than was asked for.
func unsupported(field string) error {
	return fault.New(fault.Invalid, meta.FeatureGateDisabledReason, "%s is not supported by this version: remove it", field)
}
