// SPDX-License-Identifier: Apache-2.0

package notation

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
)

// Bounds of a policy document.
const (
	maxDocument   = 256 << 10
	maxStatements = 64
	maxNames      = 64
)

// document is a trust policy document of version 1.0.
type document struct {
	Version       string      `json:"version"`
	TrustPolicies []statement `json:"trustPolicies"`
}

// statement says for some repositories whom to believe.
type statement struct {
	Name                  string       `json:"name"`
	RegistryScopes        []string     `json:"registryScopes"`
	SignatureVerification verification `json:"signatureVerification"`
	TrustStores           []string     `json:"trustStores"`
	TrustedIdentities     []string     `json:"trustedIdentities"`
}

type verification struct {
	Level           string            `json:"level"`
	Override        map[string]string `json:"override"`
	VerifyTimestamp string            `json:"verifyTimestamp"`
}

// The levels, and what is checked (Notary Project's trust-store-trust-policy specification).
const (
	strict     = "strict"
	permissive = "permissive"

	authenticity       = "authenticity"
	authenticTimestamp = "authenticTimestamp"
	expiry             = "expiry"
	revocation         = "revocation"

	enforce = "enforce"
	logged  = "log"
	skip    = "skip"
)

// When a timestamp is needed, where a store of type "tsa" is named.
const (
	always          = "always"
	afterCertExpiry = "afterCertExpiry"
)

// wildcard is every repository, or every signer.
const wildcard = "*"

// rules is a statement that can be used, read.
type rules struct {
	name       string
	enforced   map[string]bool
	revocation string
	// stores are the types of trust store that the statement names: "ca", "signingAuthority".
	stores     []string
	identities []name
	// timestamps is set with a store of type "tsa": signatures need one, or with afterExpiry only those by an expired certificate.
	timestamps  bool
	afterExpiry bool
}

// parseDocument reads a document. A field that is not known could narrow what is believed, so it is refused.
func parseDocument(data []byte) (document, error) {
	if len(data) > maxDocument {
		return document{}, fmt.Errorf("trust policy has more than %d bytes", maxDocument)
	}
	var d document
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&d); err != nil {
		return document{}, errors.New("trust policy is no valid trustpolicy.json")
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return document{}, errors.New("trust policy has text after the JSON document")
	}
	switch {
	case d.Version != "1.0":
		return document{}, fmt.Errorf("trust policy is of version %.16q, want \"1.0\"", d.Version)
	case len(d.TrustPolicies) == 0 || len(d.TrustPolicies) > maxStatements:
		return document{}, fmt.Errorf("trust policy has %d statements, want 1 to %d", len(d.TrustPolicies), maxStatements)
	}
	return d, d.check()
}

// check refuses a document in which two statements could be meant.
func (d document) check() error {
	names, scopes := map[string]bool{}, map[string]bool{}
	for _, s := range d.TrustPolicies {
		if s.Name == "" || names[s.Name] {
			return fmt.Errorf("trust policy has two statements by the name %.80q, or one without", s.Name)
		}
		names[s.Name] = true
		if len(s.RegistryScopes) == 0 || len(s.RegistryScopes) > maxNames {
			return fmt.Errorf("statement %.80q has %d registryScopes, want 1 to %d", s.Name, len(s.RegistryScopes), maxNames)
		}
		for _, scope := range s.RegistryScopes {
			switch {
			case scope == wildcard && len(s.RegistryScopes) > 1:
				return fmt.Errorf("statement %.80q has another scope beside \"*\"", s.Name)
			case scope != wildcard && (strings.Contains(scope, wildcard) || !strings.Contains(scope, "/")):
				return fmt.Errorf("statement %.80q: scope %.256q is no repository", s.Name, scope)
			case scopes[canonical(scope)]:
				return fmt.Errorf("trust policy has scope %.256q twice", scope)
			}
			scopes[canonical(scope)] = true
		}
	}
	return nil
}

// canonical is a repository as the registry client writes it.
func canonical(repository string) string {
	if rest, ok := strings.CutPrefix(repository, "docker.io/"); ok {
		return "index.docker.io/" + rest
	}
	return repository
}

// of returns the rules for a repository: those of the statement that names it, or of the one for all.
func (d document) of(repository string) (rules, error) {
	for _, want := range []string{canonical(repository), wildcard} {
		for _, s := range d.TrustPolicies {
			if slices.ContainsFunc(s.RegistryScopes, func(scope string) bool { return canonical(scope) == want }) {
				r, err := s.rules()
				if err != nil {
					return rules{}, fmt.Errorf("statement %.80q: %w", s.Name, err)
				}
				return r, nil
			}
		}
	}
	return rules{}, errors.New("trust policy has no statement for this repository")
}

func (s statement) rules() (rules, error) {
	r := rules{name: s.Name}
	if err := r.readLevel(s.SignatureVerification); err != nil {
		return rules{}, err
	}
	if err := r.readStores(s.TrustStores); err != nil {
		return rules{}, err
	}
	return r, r.readIdentities(s.TrustedIdentities)
}

// readLevel reads what is enforced. Whoever asks for verification is not served what did not verify.
func (r *rules) readLevel(v verification) error {
	switch v.Level {
	case strict, permissive:
	case "audit", skip:
		return fmt.Errorf("level %q lets unverified content pass: use \"strict\" or \"permissive\", or take spec.verify away", v.Level)
	default:
		return fmt.Errorf("unknown level %.32q", v.Level)
	}
	switch v.VerifyTimestamp {
	case "", always:
	case afterCertExpiry:
		r.afterExpiry = true
	default:
		return fmt.Errorf("unknown verifyTimestamp %.32q, want %q or %q", v.VerifyTimestamp, always, afterCertExpiry)
	}
	r.enforced = map[string]bool{authenticTimestamp: v.Level == strict, expiry: v.Level == strict}
	r.revocation = map[string]string{strict: enforce, permissive: logged}[v.Level]
	for check, action := range v.Override {
		switch {
		case action != enforce && action != logged && action != skip:
			return fmt.Errorf("override of %.32q: unknown action %.32q", check, action)
		case check == revocation:
			r.revocation = action
		case action == skip:
			return fmt.Errorf("override: %.32q cannot be skipped", check)
		case check == authenticTimestamp || check == expiry:
			r.enforced[check] = action == enforce
		case check == authenticity && action != enforce:
			return errors.New("override of \"authenticity\" lets unverified content pass: remove it")
		case check != authenticity:
			return fmt.Errorf("%.32q cannot be overridden", check)
		}
	}
	return nil
}

var storeName = regexp.MustCompile(`^[a-zA-Z0-9_.-]{1,128}$`)

// readStores reads the types of trust stores. As in Flux the certificates of the Secret are in each of them, whatever its name.
func (r *rules) readStores(stores []string) error {
	if len(stores) == 0 || len(stores) > maxNames {
		return fmt.Errorf("%d trustStores, want 1 to %d", len(stores), maxNames)
	}
	for _, store := range stores {
		kind, name, ok := strings.Cut(store, ":")
		switch {
		case !ok || !storeName.MatchString(name):
			return fmt.Errorf("trust store %.128q is not <type>:<name>", store)
		case kind == "tsa":
			r.timestamps = true
			continue
		case kind != "ca" && kind != "signingAuthority":
			return fmt.Errorf("trust store %.128q is of no known type", store)
		}
		r.stores = append(r.stores, kind)
	}
	if len(r.stores) == 0 {
		return errors.New("trustStores name no store of type \"ca\" or \"signingAuthority\"")
	}
	return nil
}

func (r *rules) readIdentities(identities []string) error {
	if len(identities) == 0 || len(identities) > maxNames {
		return fmt.Errorf("%d trustedIdentities, want 1 to %d", len(identities), maxNames)
	}
	for _, identity := range identities {
		text, ok := strings.CutPrefix(identity, "x509.subject:")
		switch {
		case identity == wildcard:
			return errors.New("trustedIdentities \"*\" accepts everybody whom the authority has given a certificate: name the signer as \"x509.subject: C=…, ST=…, O=…\"")
		case !ok:
			return fmt.Errorf("trusted identity %.256q is not \"x509.subject: …\"", identity)
		}
		n, err := parseName(text)
		if err != nil {
			return fmt.Errorf("trusted identity %.256q: %w", identity, err)
		}
		r.identities = append(r.identities, n)
	}
	return nil
}
