// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"cmp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"sluice.dev/sluice/controllers/internal/apply/inventory"
)

// The stages of a set, in order (spec row K-22).
const (
	stageDefinitions = "definitions"
	stageClasses     = "classes"
	stageCustom      = "custom"
	stageResources   = "resources"
)

// stageOf returns the stage in which a kind is applied.
func stageOf(gk schema.GroupKind, custom []schema.GroupKind) string {
	switch {
	case gk.Group == "apiextensions.k8s.io" && gk.Kind == "CustomResourceDefinition",
		gk.Group == "" && gk.Kind == "Namespace",
		gk.Group == "rbac.authorization.k8s.io" && gk.Kind == "ClusterRole":
		return stageDefinitions
	case strings.HasSuffix(gk.Kind, "Class"):
		return stageClasses
	}
	if slices.Contains(custom, gk) {
		return stageCustom
	}
	return stageResources
}

// settles reports whether a stage ends when its objects can be built upon, and not as soon as they are written.
func settles(stage string) bool { return stage == stageDefinitions || stage == stageClasses }

// class returns the place of a kind in the order of work; the kinds of one class are worked on in parallel. Kinds that
// others refer to come early, webhooks last, and what is not named here in between. A switch rather than a table,
// because it is asked for every comparison (weakness W3).
func class(kind string) int {
	switch kind {
	case "CustomResourceDefinition":
		return -23
	case "Namespace":
		return -22
	case "ClusterRole":
		return -21
	case "ClusterClass":
		return -20
	case "RuntimeClass":
		return -19
	case "PriorityClass":
		return -18
	case "StorageClass":
		return -17
	case "VolumeSnapshotClass":
		return -16
	case "IngressClass":
		return -15
	case "GatewayClass":
		return -14
	case "ClusterRoleBinding":
		return -13
	case "ResourceQuota":
		return -12
	case "ServiceAccount":
		return -11
	case "Role":
		return -10
	case "RoleBinding":
		return -9
	case "ConfigMap", "Secret":
		return -8
	case "Service":
		return -6
	case "LimitRange":
		return -5
	case "Deployment", "StatefulSet", "CronJob":
		return -4
	case "PodDisruptionBudget":
		return -1
	case "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration":
		return 1
	default:
		return 0
	}
}

// compareIDs orders objects by class, then by name, so that a plan reads the same whatever order they were rendered in.
func compareIDs(a, b inventory.ID) int {
	return cmp.Or(
		cmp.Compare(class(a.Kind), class(b.Kind)),
		cmp.Compare(a.Group, b.Group),
		cmp.Compare(a.Kind, b.Kind),
		cmp.Compare(a.Namespace, b.Namespace),
		cmp.Compare(a.Name, b.Name),
	)
}
