// SPDX-License-Identifier: Apache-2.0

package parameters

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// resolve checks a file and fills in its defaults.
func (f file) resolve() (Parameters, error) {
	if f.APIVersion != APIVersion || f.Kind != Kind {
		return Parameters{}, fmt.Errorf("apiVersion %q, kind %q: want %q, %q", f.APIVersion, f.Kind, APIVersion, Kind)
	}
	if len(f.Namespaces) > maxNamespaces {
		return Parameters{}, fmt.Errorf("namespaces: %d entries, at most %d are read", len(f.Namespaces), maxNamespaces)
	}
	if _, err := f.Defaults.tenant("defaults"); err != nil {
		return Parameters{}, fmt.Errorf("defaults.%w", err)
	}
	p := Parameters{tenants: make(map[string]Tenant, len(f.Namespaces))}
	for _, name := range slices.Sorted(maps.Keys(f.Namespaces)) {
		if !isLabel(name) {
			return Parameters{}, fmt.Errorf("namespaces: %q is no namespace name", name)
		}
		t, err := f.Namespaces[name].over(f.Defaults).tenant(name)
		if err != nil {
			return Parameters{}, fmt.Errorf("namespaces.%s.%w", name, err)
		}
		p.tenants[name] = t
	}
	return p, nil
}

// over returns e with what it does not say taken from d.
func (e entry) over(d entry) entry {
	return entry{
		Sources:          or(e.Sources, d.Sources),
		Registries:       or(e.Registries, d.Registries),
		ServiceAccounts:  or(e.ServiceAccounts, d.ServiceAccounts),
		Verification:     e.Verification.over(d.Verification),
		TargetNamespaces: or(e.TargetNamespaces, d.TargetNamespaces),
		ClusterRoles:     or(e.ClusterRoles, d.ClusterRoles),
		Profile:          or(e.Profile, d.Profile),
		Transport:        or(e.Transport, d.Transport),
		Artifacts:        or(e.Artifacts, d.Artifacts),
	}
}

// over fills in field by field, so that a namespace can add a key without repeating the rest.
func (v *verification) over(d *verification) *verification {
	if v == nil || d == nil {
		return or(v, d)
	}
	return &verification{
		Required:    or(v.Required, d.Required),
		Keys:        or(v.Keys, d.Keys),
		Identities:  or(v.Identities, d.Identities),
		TrustedRoot: or(v.TrustedRoot, d.TrustedRoot),
		Notation:    or(v.Notation, d.Notation),
	}
}

func or[T any](a, b *T) *T {
	if a != nil {
		return a
	}
	return b
}

func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

// tenant checks an entry. Its errors begin with the name of the field.
func (e entry) tenant(namespace string) (Tenant, error) {
	t := Tenant{Namespace: namespace, Listed: true}
	var errs [9]error
	t.Sources, errs[0] = each("sources", value(e.Sources), func(s source) (Origin, error) { return parseOrigin(s.URL) })
	t.Registries, errs[1] = each("registries", value(e.Registries), parseRegistry)
	t.ServiceAccounts, errs[2] = each("serviceAccounts", value(e.ServiceAccounts), subdomain)
	t.Verification, errs[3] = e.Verification.resolve()
	t.TargetNamespaces, errs[4] = each("targetNamespaces", e.targets(namespace), label)
	t.ClusterRoles, errs[5] = each("clusterRoles", value(e.ClusterRoles), pathSegment)
	t.Profile, errs[6] = parseProfile(e.Profile)
	if e.Transport != nil {
		t.PlainHTTP, errs[7] = each("transport.allowPlainHTTP", value(e.Transport.AllowPlainHTTP), hostPort)
	}
	t.Unverified, errs[8] = e.Artifacts.resolve(t.Verification.Required)
	return t, cmp.Or(errs[:]...)
}

// targets is the namespace itself where the file says nothing.
func (e entry) targets(namespace string) []string {
	if e.TargetNamespaces == nil {
		return []string{namespace}
	}
	return *e.TargetNamespaces
}

func (v *verification) resolve() (Verification, error) {
	if v == nil {
		return Verification{Required: true}, nil
	}
	r := Verification{Required: v.Required == nil || *v.Required}
	var err error
	if r.Keys, err = each("verification.keys", value(v.Keys), parseKey); err != nil {
		return r, err
	}
	if r.Identities, err = each("verification.identities", value(v.Identities), parseIdentity); err != nil {
		return r, err
	}
	root := value(v.TrustedRoot)
	switch {
	case root == "" && len(r.Identities) > 0:
		return r, errors.New("verification.trustedRoot: identities need a trusted root, give the content of trusted_root.json")
	case len(root) > maxTrust:
		return r, fmt.Errorf("verification.trustedRoot: larger than %d bytes", maxTrust)
	case root != "" && !json.Valid([]byte(root)):
		return r, errors.New("verification.trustedRoot: not JSON")
	case root != "":
		r.TrustedRoot = []byte(root)
	}
	r.Notation, err = v.Notation.resolve()
	return r, err
}

// resolve looks at the outside only; what a trust policy may say is internal/verify's.
func (n *notation) resolve() (r Notation, err error) {
	if n == nil {
		return r, nil
	}
	switch {
	case len(n.TrustPolicy) > maxTrust:
		return r, fmt.Errorf("verification.notation.trustPolicy: larger than %d bytes", maxTrust)
	case !json.Valid([]byte(n.TrustPolicy)):
		return r, errors.New("verification.notation.trustPolicy: not JSON, give the content of trustpolicy.json")
	case len(n.Certificates) == 0:
		return r, errors.New("verification.notation.certificates: none, so nobody would be believed")
	}
	r.TrustPolicy = []byte(n.TrustPolicy)
	r.Certificates, err = each("verification.notation.certificates", n.Certificates, parseCertificate)
	return r, err
}

func parseCertificate(c certificate) (Key, error) {
	switch {
	case c.Name == "" || len(c.Name) > 253:
		return Key{}, errors.New("name is missing or too long")
	case len(c.Certificate) > maxKey:
		return Key{}, fmt.Errorf("certificate is larger than %d bytes", maxKey)
	case strings.Contains(c.Certificate, "PRIVATE KEY"):
		return Key{}, errors.New("certificate is a private key: replace it, it is disclosed")
	case !strings.HasPrefix(strings.TrimSpace(c.Certificate), "-----BEGIN "):
		return Key{}, errors.New("certificate is not PEM")
	}
	return Key{Name: c.Name, Data: []byte(c.Certificate)}, nil
}

// resolve returns why unverified artifacts are admitted. Where verification is required nobody could check them, so the file
// has to say which of the two it means.
func (a *artifacts) resolve(required bool) (string, error) {
	if a == nil || value(a.Unverified) == "" {
		return "", nil
	}
	reason, err := parseReason(*a.Unverified)
	switch {
	case err != nil:
		return "", fmt.Errorf("artifacts.unverified: %w", err)
	case required:
		return "", errors.New("artifacts.unverified: verification is required here, and nothing can verify these artifacts: " +
			"set verification.required to false as well, or remove this")
	}
	return reason, nil
}

// each converts a list and names the element that does not convert.
func each[In, Out any](field string, list []In, convert func(In) (Out, error)) ([]Out, error) {
	if len(list) > maxList {
		return nil, fmt.Errorf("%s: %d elements, at most %d are read", field, len(list), maxList)
	}
	out := make([]Out, 0, len(list))
	for i, in := range list {
		o, err := convert(in)
		if err != nil {
			return nil, fmt.Errorf("%s[%d]: %w", field, i, err)
		}
		out = append(out, o)
	}
	return out, nil
}

func parseProfile(p *string) (Profile, error) {
	switch profile := Profile(value(p)); profile {
	case Restricted, Baseline, None:
		return profile, nil
	case Unset:
		if p == nil {
			return Unset, nil
		}
	}
	return Unset, fmt.Errorf("profile: %q: want restricted, baseline or none", *p)
}

// parseKey looks at the key's armour only; the algorithm policy and the parsing are internal/verify's.
func parseKey(k key) (Key, error) {
	switch {
	case k.Name == "" || len(k.Name) > 253:
		return Key{}, errors.New("name is missing or too long")
	case len(k.PublicKey) > maxKey:
		return Key{}, fmt.Errorf("publicKey is larger than %d bytes", maxKey)
	case strings.Contains(k.PublicKey, "PRIVATE KEY"):
		return Key{}, errors.New("publicKey is a private key: put the public key here, and replace the private key, it is disclosed")
	}
	for _, armour := range []string{"-----BEGIN ", "ssh-", "ecdsa-sha2-", "sk-"} {
		if strings.HasPrefix(strings.TrimSpace(k.PublicKey), armour) {
			return Key{Name: k.Name, Data: []byte(k.PublicKey)}, nil
		}
	}
	return Key{}, errors.New("publicKey is neither PEM, nor armored OpenPGP, nor an SSH public key")
}

// parseReason wants words: they stand in events and in the ledger for as long as the exception lasts.
func parseReason(reason string) (string, error) {
	switch {
	case len(reason) > maxReason:
		return "", fmt.Errorf("longer than %d bytes", maxReason)
	case !strings.Contains(strings.TrimSpace(reason), " "):
		return "", fmt.Errorf("%q gives no reason: say in a few words why, for example \"migration from Flux, change 4711\"", reason)
	case strings.ContainsFunc(reason, unicode.IsControl):
		return "", errors.New("more than one line: give the reason on one")
	}
	return strings.TrimSpace(reason), nil
}

func parseIdentity(i identity) (Identity, error) {
	for _, pattern := range []string{i.Issuer, i.Subject} {
		if pattern == "" || len(pattern) > maxText {
			return Identity{}, errors.New("issuer and subject are both needed, as regular expressions")
		}
		if _, err := regexp.Compile(pattern); err != nil {
			return Identity{}, fmt.Errorf("%q is no regular expression: %w", pattern, err)
		}
	}
	return Identity(i), nil
}
