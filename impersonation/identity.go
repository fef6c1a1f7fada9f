// SPDX-License-Identifier: Apache-2.0

package impersonation

// subjectPrefix is what the API server's authenticator puts before "<namespace>:<name>" of a ServiceAccount.
const subjectPrefix = "system:serviceaccount:"

// Identity is one ServiceAccount as which an object acts. Only Resolve makes a valid one, and Caller one of a person; the
// zero Identity is nobody. Identities can be compared and used as map keys.
type Identity struct {
	namespace string
	name      string
	// caller is set instead of both for a person.
	caller string
}

// Valid reports whether the identity was resolved.
func (i Identity) Valid() bool { return i.caller != "" || i.namespace != "" && i.name != "" }

// Namespace returns the ServiceAccount's namespace, which is always the object's own.
func (i Identity) Namespace() string { return i.namespace }

// ServiceAccount returns the ServiceAccount's name.
func (i Identity) ServiceAccount() string { return i.name }

// String returns the subject as the API server knows it, "system:serviceaccount:<namespace>:<name>" or the name of the
// caller, and "nobody" for the zero Identity.
func (i Identity) String() string {
	switch {
	case i.caller != "":
		return i.caller
	case !i.Valid():
		return "nobody"
	default:
		return subjectPrefix + i.namespace + ":" + i.name
	}
}
