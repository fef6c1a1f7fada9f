// SPDX-License-Identifier: Apache-2.0

package impersonation

// subjectPrefix is what the API server's authenticator puts before "<namespace>:<name>" of a ServiceAccount.
const subjectPrefix = "system:serviceaccount:"

// Identity is one ServiceAccount as which an object acts. Only Resolve makes a valid one; the zero Identity is nobody.
// Identities can be compared and used as map keys.
type Identity struct {
	namespace string
	name      string
}

// Valid reports whether the identity was resolved.
func (i Identity) Valid() bool { return i.namespace != "" && i.name != "" }

// Namespace returns the ServiceAccount's namespace, which is always the object's own.
func (i Identity) Namespace() string { return i.namespace }

// ServiceAccount returns the ServiceAccount's name.
func (i Identity) ServiceAccount() string { return i.name }

// String returns the subject as the API server knows it, "system:serviceaccount:<namespace>:<name>", and "nobody" for
// the zero Identity.
func (i Identity) String() string {
	if !i.Valid() {
		return "nobody"
	}
	return subjectPrefix + i.namespace + ":" + i.name
}
