// SPDX-License-Identifier: Apache-2.0

package impersonation

import (
	"errors"
	"fmt"
	"slices"

	"github.com/fluxcd/pkg/apis/acl"
	"k8s.io/apimachinery/pkg/util/validation"

	"sluice.dev/sluice/internal/fault"
)

// DefaultPlatformServiceAccount is the name that install gives to the ServiceAccount of platform objects.
const DefaultPlatformServiceAccount = "sluice-platform"

// Tenanted is what Resolve needs to know about an object.
type Tenanted interface {
	GetNamespace() string
	GetName() string
	// ServiceAccountName is the object's spec.serviceAccountName, empty when it names none.
	ServiceAccountName() string
}

// Lockdown is the operator's choice of who may act as what. The zero Lockdown refuses every object: without knowing
// which namespaces and ServiceAccounts are the platform's, nothing could be told apart from them.
type Lockdown struct {
	// PlatformNamespaces are the controllers' own namespace and those of --platform-namespaces. Every other namespace
	// is a tenant's.
	PlatformNamespaces []string
	// PlatformServiceAccount is as whom an object in a platform namespace acts when it names no ServiceAccount or a
	// controller's.
	PlatformServiceAccount string
	// ControllerServiceAccounts are the names of the controllers' own ServiceAccounts, as which no object acts.
	ControllerServiceAccounts []string
	// DefaultServiceAccount is --default-service-account: as whom a tenant's object acts that names none. Empty refuses
	// such an object.
	DefaultServiceAccount string
}

// Validate reports what is missing or contradicts itself.
func (l Lockdown) Validate() error {
	switch {
	case len(l.PlatformNamespaces) == 0:
		return errors.New("no platform namespace is configured")
	case len(l.ControllerServiceAccounts) == 0:
		return errors.New("the controllers' ServiceAccounts are not configured")
	case slices.Contains(l.ControllerServiceAccounts, l.PlatformServiceAccount):
		return fmt.Errorf("the platform ServiceAccount %q is a controller's", l.PlatformServiceAccount)
	}
	if err := checkName("platform ServiceAccount", l.PlatformServiceAccount); err != nil {
		return err
	}
	if l.DefaultServiceAccount == "" {
		return nil
	}
	return checkName("default ServiceAccount", l.DefaultServiceAccount)
}

// Platform reports whether a namespace is the platform's.
func (l Lockdown) Platform(namespace string) bool {
	return slices.Contains(l.PlatformNamespaces, namespace)
}

// Resolve returns as whom obj acts. It is pure. Every refusal is a fault of kind Denied with Flux's reason AccessDenied
// and a message that says what to change.
func Resolve(obj Tenanted, l Lockdown) (Identity, error) {
	if err := l.Validate(); err != nil {
		return Identity{}, denied("no object may act as anybody: %w; correct the controller's flags", err)
	}
	namespace := obj.GetNamespace()
	if errs := validation.IsDNS1123Label(namespace); len(errs) > 0 {
		return Identity{}, denied("namespace %q is not a valid name", namespace)
	}
	name := choose(namespace, obj.ServiceAccountName(), l)
	if name == "" {
		return Identity{}, denied("%q in namespace %q names no ServiceAccount; set spec.serviceAccountName to one of that namespace",
			obj.GetName(), namespace)
	}
	if err := checkName("spec.serviceAccountName", name); err != nil {
		return Identity{}, denied("%w; name a ServiceAccount of namespace %q, without its namespace", err, namespace)
	}
	return Identity{namespace: namespace, name: name}, nil
}

// choose applies the Lockdown to the name an object asks for. Empty means that there is nobody to act as.
func choose(namespace, asked string, l Lockdown) string {
	if l.Platform(namespace) {
		if asked == "" || slices.Contains(l.ControllerServiceAccounts, asked) {
			return l.PlatformServiceAccount
		}
		return asked
	}
	if asked == "" {
		return l.DefaultServiceAccount
	}
	return asked
}

// checkName accepts what the API server accepts as a ServiceAccount's name. That rules out "/" and ":", with which a
// name could reach into another namespace once it stands in a subject or a path.
func checkName(what, name string) error {
	if errs := validation.IsDNS1123Subdomain(name); len(errs) > 0 {
		return fmt.Errorf("%s %q is not a valid name of a ServiceAccount", what, name)
	}
	return nil
}

func denied(format string, args ...any) error {
	return fault.New(fault.Denied, acl.AccessDeniedReason, format, args...)
}
