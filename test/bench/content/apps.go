// SPDX-License-Identifier: Apache-2.0

package content

import (
	"bytes"
	"fmt"
	"strings"

	"sigs.k8s.io/yaml"
)

// Object is any object of the API.
type Object = map[string]any

// ObjectsPerApp is how many objects an application has.
const ObjectsPerApp = 10

// Registry is where all images come from. Nobody pulls them: there is no kubelet.
const Registry = "registry.example.com"

// Label selects the objects of all applications.
const Label = "app.kubernetes.io/part-of=bench"

// Workload is the name of each application's Deployment.
const Workload = "app"

// Namespace is that of application i.
func Namespace(i int) string { return fmt.Sprintf("app-%04d", i) }

// AppObjects are the objects of application i: a ServiceAccount, a Service, a Deployment and seven ConfigMaps. Revision
// shows in the ConfigMap c-0 only.
func AppObjects(i int, revision string) []Object {
	objects := []Object{
		{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata(i, "app")},
		{"apiVersion": "v1", "kind": "Service", "metadata": metadata(i, "app"), "spec": Object{
			"type": "ClusterIP", "selector": selector(i),
			"ports": []any{Object{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}},
		}},
		{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata(i, Workload), "spec": Object{
			"replicas": 1, "selector": Object{"matchLabels": selector(i)}, "template": podTemplate(i),
		}},
	}
	for c := range ObjectsPerApp - 3 {
		shown := "1"
		if c == 0 {
			shown = revision
		}
		objects = append(objects, Object{
			"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata(i, fmt.Sprintf("c-%d", c)),
			"data": Object{"revision": shown, "app.properties": strings.Repeat(fmt.Sprintf("key.%d.%d=value\n", i, c), 40)},
		})
	}
	return objects
}

func metadata(i int, name string) Object {
	key, value, _ := strings.Cut(Label, "=")
	return Object{
		"name": name, "namespace": Namespace(i),
		"labels": Object{"app.kubernetes.io/name": Namespace(i), key: value},
	}
}

func selector(i int) Object { return Object{"app.kubernetes.io/name": Namespace(i)} }

// podTemplate meets the restricted Pod Security Standard.
func podTemplate(i int) Object {
	return Object{
		"metadata": Object{"labels": selector(i), "annotations": Object{"prometheus.io/scrape": "true"}},
		"spec": Object{
			"serviceAccountName": "app",
			"securityContext":    Object{"runAsNonRoot": true, "seccompProfile": Object{"type": "RuntimeDefault"}},
			"containers": []any{Object{
				"name": "app", "image": Registry + "/app:1.2.3",
				"command":         []any{"./app", "--port=8080", "--level=info"},
				"env":             []any{Object{"name": "COLOR", "value": "#34577c"}},
				"ports":           []any{Object{"name": "http", "containerPort": 8080, "protocol": "TCP"}},
				"livenessProbe":   Object{"httpGet": Object{"path": "/healthz", "port": "http"}, "periodSeconds": 10},
				"volumeMounts":    []any{Object{"name": "data", "mountPath": "/data"}},
				"resources":       Object{"requests": Object{"cpu": "10m", "memory": "16Mi"}},
				"securityContext": Object{"allowPrivilegeEscalation": false, "capabilities": Object{"drop": []any{"ALL"}}},
			}},
			"volumes": []any{Object{"name": "data", "emptyDir": Object{}}},
		},
	}
}

// AppFiles are the manifest files of application i, a kustomization.yaml among them.
func AppFiles(i int, revision string) (map[string][]byte, error) {
	files := map[string][]byte{}
	o := AppObjects(i, revision)
	for name, objects := range map[string][]Object{
		"account.yaml": o[0:1], "service.yaml": o[1:2], "deployment.yaml": o[2:3], "config.yaml": o[3:4], "settings.yaml": o[4:],
		"kustomization.yaml": {{
			"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization",
			"resources": []string{"account.yaml", "service.yaml", "deployment.yaml", "config.yaml", "settings.yaml"},
		}},
	} {
		text, err := documents(objects)
		if err != nil {
			return nil, err
		}
		files[name] = text
	}
	return files, nil
}

func documents(objects []Object) ([]byte, error) {
	var b bytes.Buffer
	for _, o := range objects {
		text, err := yaml.Marshal(o)
		if err != nil {
			return nil, fmt.Errorf("encode manifest: %w", err)
		}
		b.WriteString("---\n")
		b.Write(text)
	}
	return b.Bytes(), nil
}
