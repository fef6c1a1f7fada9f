// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// normalize changes obj into what can be applied and compared (spec row K-30). Unlike Flux it does not go through the
// Go types, which would drop every field that is newer than our copy of them.
func normalize(obj *unstructured.Unstructured) error {
	for _, field := range []string{"managedFields", "resourceVersion", "uid", "generation", "selfLink", "creationTimestamp"} {
		unstructured.RemoveNestedField(obj.Object, "metadata", field)
	}
	if isCRD(obj) {
		dropBrokenBundle(obj)
	} else {
		unstructured.RemoveNestedField(obj.Object, "status")
	}
	if isSecret(obj) {
		return normalizeSecret(obj)
	}
	defaultProtocols(obj)
	return nil
}

// normalizeSecret moves stringData to data, and refuses values the API server would quote in its error.
func normalizeSecret(obj *unstructured.Unstructured) error {
	data, err := stringMap(obj, "data")
	if err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(data)) {
		if _, err := base64.StdEncoding.DecodeString(data[key]); err != nil {
			return fmt.Errorf("data[%q] is not base64; use stringData for plain text", key)
		}
	}
	plain, err := stringMap(obj, "stringData")
	if err != nil || len(plain) == 0 {
		return err
	}
	merged := make(map[string]any, len(data)+len(plain))
	for key, value := range data {
		merged[key] = value
	}
	for key, value := range plain {
		merged[key] = base64.StdEncoding.EncodeToString([]byte(value))
	}
	obj.Object["data"] = merged
	delete(obj.Object, "stringData")
	return nil
}

// stringMap reads a map of strings. The error names the key, never the value.
func stringMap(obj *unstructured.Unstructured, field string) (map[string]string, error) {
	raw, found := obj.Object[field]
	if !found || raw == nil {
		delete(obj.Object, field)
		return nil, nil
	}
	values, ok := raw.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%s is not a map", field)
	}
	out := make(map[string]string, len(values))
	for _, key := range slices.Sorted(maps.Keys(values)) {
		switch value := values[key].(type) {
		case string:
			out[key] = value
		case nil:
			out[key] = ""
		default:
			return nil, fmt.Errorf("%s[%q] is a %T, not a string; quote it", field, key, value)
		}
	}
	if field == "data" {
		for key, value := range out {
			values[key] = value
		}
	}
	return out, nil
}

// podSpecs are the paths to the pod spec of each kind that has one.
func podSpecs(kind string) []string {
	switch kind {
	case "Pod":
		return []string{"spec"}
	case "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "ReplicationController":
		return []string{"spec", "template", "spec"}
	case "CronJob":
		return []string{"spec", "jobTemplate", "spec", "template", "spec"}
	default:
		return nil
	}
}

// defaultProtocols sets the protocol of ports, which is part of their key in a list but optional to write
// (kubernetes/kubernetes#130, structured-merge-diff).
func defaultProtocols(obj *unstructured.Unstructured) {
	gvk := obj.GroupVersionKind()
	switch gvk.Group {
	case "", "apps", "batch":
	default:
		return
	}
	if gvk.Group == "" && gvk.Kind == "Service" {
		setProtocols(obj.Object, "spec", "ports")
		return
	}
	path := podSpecs(gvk.Kind)
	if path == nil {
		return
	}
	spec, found, err := unstructured.NestedFieldNoCopy(obj.Object, path...)
	pod, ok := spec.(map[string]any)
	if !found || err != nil || !ok {
		return
	}
	for _, field := range []string{"containers", "initContainers"} {
		containers, _ := pod[field].([]any)
		for _, c := range containers {
			if container, ok := c.(map[string]any); ok {
				setProtocols(container, "ports")
			}
		}
	}
}

func setProtocols(in map[string]any, path ...string) {
	field, _, err := unstructured.NestedFieldNoCopy(in, path...)
	ports, ok := field.([]any)
	if err != nil || !ok {
		return
	}
	for _, p := range ports {
		port, ok := p.(map[string]any)
		if !ok {
			continue
		}
		if protocol, _ := port["protocol"].(string); protocol == "" {
			port["protocol"] = "TCP"
		}
	}
}

// dropBrokenBundle removes the CA bundle of a conversion webhook that is no PEM: a placeholder that cert-manager or
// the operator fills in. The API server refuses such a CRD since Kubernetes 1.31.
func dropBrokenBundle(obj *unstructured.Unstructured) {
	path := []string{"spec", "conversion", "webhook", "clientConfig", "caBundle"}
	bundle, found, err := unstructured.NestedString(obj.Object, path...)
	if !found && err == nil {
		return
	}
	raw, decodeErr := base64.StdEncoding.DecodeString(bundle)
	if block, _ := pem.Decode(raw); err != nil || decodeErr != nil || block == nil {
		unstructured.RemoveNestedField(obj.Object, path...)
	}
}
