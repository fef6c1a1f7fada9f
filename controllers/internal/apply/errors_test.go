// SPDX-License-Identifier: Apache-2.0

package apply_test

import (
	"errors"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"sluice.dev/sluice/controllers/internal/apply"
	"sluice.dev/sluice/controllers/internal/apply/inventory"
)

func TestObjectErrorText(t *testing.T) {
	const value = "hunter2"
	secret := inventory.ID{Kind: "Secret", Namespace: "a", Name: "s"}
	invalid := apierrors.NewInvalid(schema.GroupKind{Kind: "Secret"}, "s", field.ErrorList{
		field.Invalid(field.NewPath("data").Key("token"), value, "must be shorter"),
	})
	untyped := apierrors.NewInternalError(errors.New("failed to create typed patch object: .data.token: expected string, got &value{" + value + "}"))
	tests := map[string]struct {
		in         apply.ObjectError
		says, omit []string
	}{
		"a Secret's values stay out of a validation error": {
			in:   apply.ObjectError{ID: secret, Doing: "dry-run", Err: invalid},
			says: []string{"Secret/a/s dry-run failed (Invalid)", "data[token]"}, omit: []string{value},
		},
		"and out of a type error": {
			in:   apply.ObjectError{ID: secret, Doing: "dry-run", Err: untyped},
			says: []string{"Secret/a/s", ".data.token"}, omit: []string{value},
		},
		"and out of what a webhook says": {
			in: apply.ObjectError{ID: secret, Doing: "apply", Err: apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, "s",
				errors.New("admission webhook denied: password "+value+" is weak"))},
			says: []string{"Secret/a/s", "Forbidden"}, omit: []string{value},
		},
		"a broken connection is told as it is": {
			in:   apply.ObjectError{ID: secret, Doing: "apply", Err: errors.New("connection refused")},
			says: []string{"connection refused"},
		},
		"a refusal by RBAC names the remedy": {
			in: apply.ObjectError{
				ID: inventory.ID{Kind: "ConfigMap", Namespace: "a", Name: "c"}, Doing: "dry-run",
				Err: apierrors.NewForbidden(schema.GroupResource{Resource: "configmaps"}, "c", errors.New(`User "x" cannot patch resource`)),
			},
			says: []string{"ConfigMap/a/c dry-run failed (Forbidden)", "grant the ServiceAccount"},
		},
		"a missing namespace names the remedy": {
			in: apply.ObjectError{
				ID: inventory.ID{Kind: "ConfigMap", Namespace: "a", Name: "c"}, Doing: "dry-run",
				Err: apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, "a"),
			},
			says: []string{"create the namespace"},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			text := tc.in.Error()
			for _, s := range tc.says {
				if !strings.Contains(text, s) {
					t.Errorf("%q does not say %q", text, s)
				}
			}
			for _, s := range tc.omit {
				if strings.Contains(text, s) {
					t.Errorf("%q quotes %q", text, s)
				}
			}
		})
	}
}
