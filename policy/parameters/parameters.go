// SPDX-License-Identifier: Apache-2.0

package parameters

import (
	"maps"
	"slices"

	"sluice.dev/sluice/internal/verify"
	"sluice.dev/sluice/internal/verify/waiver"
)

// APIVersion and Kind head every parameters file.
const (
	APIVersion = "policy.sluice.dev/v1alpha1"
	Kind       = "PolicyParameters"
)

// Profile is how strict the workloads of a namespace have to be, in the words of the Pod Security Standards.
type Profile string

const (
	// Unset leaves the choice to the kind of namespace: Restricted for a tenant's, None for the platform's.
	Unset Profile = ""
	// Restricted is the strictest standard.
	Restricted Profile = "restricted"
	// Baseline keeps out known privilege escalations.
	Baseline Profile = "baseline"
	// None does not look at workloads.
	None Profile = "none"
)

// Parameters is the content of one file. The zero Parameters lists nobody.
type Parameters struct {
	tenants map[string]Tenant
}

// For returns what is granted to a namespace. A namespace without an entry gets the zero grant, with verification
// required.
func (p Parameters) For(namespace string) Tenant {
	if t, ok := p.tenants[namespace]; ok {
		return t
	}
	return Tenant{Namespace: namespace, Verification: Verification{Required: true}}
}

// Namespaces returns the namespaces that have an entry, sorted.
func (p Parameters) Namespaces() []string {
	return slices.Sorted(maps.Keys(p.tenants))
}

// Waiver returns the leave to apply for a namespace what Sluice did not verify of a source. The namespaces of both have to
// have it: that of the source, since whoever may write its status chooses among its artifacts, and that of the applier, so
// that nobody else's exception reaches it. Otherwise the waiver waives nothing.
func (p Parameters) Waiver(applier, source string) verify.Waiver {
	if p.For(source).Unverified == "" {
		return verify.Waiver{}
	}
	return waiver.For(source, p.For(applier).Unverified)
}

// Tenant is what is granted to one namespace, with the defaults of the file filled in.
type Tenant struct {
	// Namespace is the tenant's name.
	Namespace string
	// Listed is true when the file has an entry for the namespace.
	Listed bool
	// Sources are the origins its sources may have.
	Sources []Origin
	// Registries are the registries and repositories its images may come from.
	Registries []Registry
	// ServiceAccounts are the names its objects may act as.
	ServiceAccounts []string
	// Verification says whose signatures count.
	Verification Verification
	// TargetNamespaces are the namespaces it may write to: its own unless the file says otherwise.
	TargetNamespaces []string
	// ClusterRoles are the ClusterRoles a RoleBinding of it may refer to.
	ClusterRoles []string
	// Profile binds its workloads.
	Profile Profile
	// PlainHTTP lists the "host" or "host:port" it may talk to without TLS.
	PlainHTTP []string
	// Unverified is why artifacts that Sluice did not fetch and verify may be applied. Empty means that they may not.
	Unverified string
}

// Origin is a place sources may come from: everything below one URL, compared by whole path segments.
type Origin struct {
	// Scheme is https, ssh, http, oci, or bucket (for bucket://endpoint/name).
	Scheme string
	// User is the user in an ssh URL. Empty accepts any user.
	User string
	// Host is the host in lower case, with the port spelled out.
	Host string
	// Segments are the path segments.
	Segments []string
}

// Registry is a container registry, or a path in one.
type Registry struct {
	// Host is the registry's host in lower case, with its port where the file names one.
	Host string
	// Segments are the path segments.
	Segments []string
}

// Verification says whether a namespace's sources have to be signed, and by whom.
type Verification struct {
	// Required is true unless the file says otherwise.
	Required bool
	// Keys are trusted public keys.
	Keys []Key
	// Identities are trusted certificate identities. They count with TrustedRoot only.
	Identities []Identity
	// TrustedRoot is a Sigstore trusted_root.json.
	TrustedRoot []byte
	// Notation says whose Notary Project signatures count.
	Notation Notation
}

// Notation is a trust policy with what it refers to.
type Notation struct {
	// TrustPolicy is a trustpolicy.json.
	TrustPolicy []byte
	// Certificates are those of its trust stores, and revocation lists under names that end with .crl; names like
	// "tsa.crt" are for timestamps.
	Certificates []Key
}

// Policy returns whom to believe for Notary Project signatures. It is empty, and so accepts nothing, where the platform says nothing.
func (n Notation) Policy() verify.Policy {
	p := verify.Policy{TrustPolicy: slices.Clone(n.TrustPolicy)}
	for _, c := range n.Certificates {
		p.Keys = append(p.Keys, verify.Key{Name: c.Name, Data: slices.Clone(c.Data)})
	}
	return p
}

// Key is a public key with the name that appears in messages.
type Key struct {
	Name string
	Data []byte
}

// Identity is a certificate identity; both fields are anchored regular expressions.
type Identity struct {
	Issuer  string
	Subject string
}

// Policy returns whom to believe for this namespace. It is empty, and so accepts nothing, where the platform names
// nobody.
func (v Verification) Policy() verify.Policy {
	var p verify.Policy
	for _, k := range v.Keys {
		p.Keys = append(p.Keys, verify.Key{Name: k.Name, Data: slices.Clone(k.Data)})
	}
	for _, i := range v.Identities {
		p.Identities = append(p.Identities, verify.IdentityMatch{Issuer: i.Issuer, Subject: i.Subject})
	}
	p.TrustedRoot = slices.Clone(v.TrustedRoot)
	return p
}
