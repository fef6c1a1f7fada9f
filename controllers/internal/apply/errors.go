// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sluice.dev/sluice/controllers/internal/apply/inventory"
)

// ObjectError is what went wrong with one object. Its text names the object and, where one is known, the remedy; for a
// Secret it never quotes the API server, which likes to quote the value it refuses.
type ObjectError struct {
	// ID is the object, at APIVersion.
	ID         inventory.ID
	APIVersion string
	// Doing is what was tried: "dry-run", "apply", "delete", ….
	Doing string
	// Err is the cause. For Secrets it may hold values; Error is safe, Err.Error() is not.
	Err error
}

// Error returns the text for the object's owner.
func (e *ObjectError) Error() string {
	reason := string(apierrors.ReasonForError(e.Err))
	if reason != "" {
		reason = " (" + reason + ")"
	}
	text := e.detail()
	if remedy := e.remedy(); remedy != "" {
		text += "; " + remedy
	}
	return fmt.Sprintf("%s %s failed%s: %s", e.ID, e.Doing, reason, text)
}

// Unwrap returns the cause.
func (e *ObjectError) Unwrap() error { return e.Err }

func (e *ObjectError) detail() string {
	if e.ID.Kind == "Secret" && e.ID.Group == "" {
		return secretDetail(e.Err)
	}
	return e.Err.Error()
}

// fieldPath matches the path in front of each complaint of the apply machinery (".data.key: expected string, got …").
var fieldPath = regexp.MustCompile(`(?:^|\s)(\.[A-Za-z0-9_.\-\[\]="]{1,200}):`)

// secretDetail says what is wrong with a Secret without its values: our own words, and the paths of fields.
func secretDetail(err error) string {
	var paths []string
	status := statusOf(err)
	for _, c := range status.Details.Causes {
		if c.Field != "" {
			paths = append(paths, c.Field)
		}
	}
	for _, m := range fieldPath.FindAllStringSubmatch(status.Message, maxProblems) {
		paths = append(paths, m[1])
	}
	slices.Sort(paths)
	paths = slices.Compact(paths)
	switch {
	case len(paths) > 0:
		return "the API server refused " + strings.Join(paths, ", ") + " (values are not shown)"
	case apierrors.IsForbidden(err):
		return "access is denied"
	case apierrors.IsNotFound(err):
		return "the namespace or the object was not found"
	case apierrors.ReasonForError(err) != metav1.StatusReasonUnknown:
		return "the API server refused the Secret (its message is not shown, it may quote values)"
	default:
		return err.Error() // it never reached validation: a connection that broke, a deadline
	}
}

// remedy says what to do about the commonest causes.
func (e *ObjectError) remedy() string {
	switch {
	case meta.IsNoMatchError(e.Err):
		return "install the CustomResourceDefinition first, or add the Kustomization that does to dependsOn"
	case deniedAccess(e.Err):
		return "grant the ServiceAccount this access with a Role, or remove the object"
	case apierrors.IsNotFound(e.Err) && aboutNamespace(e.Err):
		return "create the namespace, or add it to the set"
	case immutable(e.Err) && e.Doing == doingDryRun:
		return "if the object may be deleted and created anew, set the force annotation on it or spec.force"
	default:
		return ""
	}
}

func aboutNamespace(err error) bool {
	return statusOf(err).Details.Kind == "namespaces"
}

// statusOf returns what the API server answered, with Details never nil.
func statusOf(err error) metav1.Status {
	var answered apierrors.APIStatus
	var status metav1.Status
	if errors.As(err, &answered) {
		status = answered.Status()
	}
	if status.Details == nil {
		status.Details = &metav1.StatusDetails{}
	}
	return status
}

// immutableText matches how webhooks and CEL rules word what the API server itself reports as Invalid.
var immutableText = regexp.MustCompile(`(?i)is immutable|immutable field`)

// immutable reports whether the object may not be changed in place, as far as can be told (K-28).
func immutable(err error) bool {
	return err != nil && (apierrors.IsInvalid(err) || apierrors.IsConflict(err) || immutableText.MatchString(err.Error()))
}

// aboutName reports whether an object was refused under another name for what does not hold under its own: a value that two
// objects cannot have, a right that is granted by name, a quota. Whatever else refuses it, an admission policy, a webhook or a server
// that does not answer, would do so again once the old object is deleted.
func aboutName(refusal, err error) bool {
	switch {
	case apierrors.IsInvalid(err): // the API server's own validation names fields, a policy does not
		causes := statusOf(err).Details.Causes
		ofPolicy := func(c metav1.StatusCause) bool { return c.Field == "" }
		return len(causes) > 0 && !slices.ContainsFunc(causes, ofPolicy) && !sameComplaint(refusal, err)
	case apierrors.IsForbidden(err):
		return deniedAccess(err) || strings.Contains(err.Error(), "exceeded quota")
	default:
		return false
	}
}

// deniedAccess reports a refusal by the API server's authorizer, by its words: admission refuses with the same reason.
func deniedAccess(err error) bool {
	return apierrors.IsForbidden(err) && strings.Contains(err.Error(), "cannot ")
}

// sameComplaint reports whether two refusals name a field in common for the same reason: then the object itself is
// faulty, not the way from the old one to it.
func sameComplaint(a, b error) bool {
	causes := func(err error) map[string]bool {
		out := map[string]bool{}
		for _, c := range statusOf(err).Details.Causes {
			out[string(c.Type)+" "+c.Field] = true
		}
		return out
	}
	have := causes(a)
	for c := range causes(b) {
		if have[c] {
			return true
		}
	}
	return false
}
