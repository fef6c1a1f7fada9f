// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// cluster looks at the control plane as its administrator. It changes nothing there: whoever acts does so with a command
// that is shown.
type cluster struct {
	dynamic dynamic.Interface
	typed   kubernetes.Interface
	admin   *clientcmdapi.Config
	bed     bed
}

// bed is what a kubeconfig of the test bed says beside how to log in.
type bed struct {
	// Binaries is the folder of its programs.
	Binaries string `json:"binaries"`
	// AuditLog is the API server's log of requests.
	AuditLog string `json:"auditLog"`
}

// bedExtension is where a kubeconfig of the test bed says what else there is (hack/testbed).
const bedExtension = "testbed.sluice.dev"

// The contexts of the demo's kubeconfig.
const (
	platform = "platform"
	teamA    = "team-a"
	teamB    = "team-b"
)

// connect reads $KUBECONFIG, an administrator's, and writes one with a context for each who acts in the demo.
func connect(file string) (*cluster, error) {
	admin, err := clientcmd.LoadFromFile(os.Getenv(clientcmd.RecommendedConfigPathEnvVar))
	if err != nil {
		return nil, fmt.Errorf("no control plane, start the demo with hack/demo.sh: %w", err)
	}
	config, err := clientcmd.NewDefaultClientConfig(*admin, nil).ClientConfig()
	if err != nil {
		return nil, err
	}
	c := &cluster{admin: admin, bed: bedOf(admin)}
	if c.dynamic, err = dynamic.NewForConfig(config); err != nil {
		return nil, err
	}
	if c.typed, err = kubernetes.NewForConfig(config); err != nil {
		return nil, err
	}
	people := admin.DeepCopy()
	current := people.Contexts[people.CurrentContext]
	for context, who := range map[string]clientcmdapi.AuthInfo{
		platform: {}, teamA: {Impersonate: "ann", ImpersonateGroups: []string{"team-a"}}, teamB: {Impersonate: "ben", ImpersonateGroups: []string{"team-b"}},
	} {
		// As an identity provider would tell them: by name and group. The roles are in examples/platform/cluster.yaml.
		user, place := people.AuthInfos[current.AuthInfo].DeepCopy(), current.DeepCopy()
		user.Impersonate, user.ImpersonateGroups = who.Impersonate, who.ImpersonateGroups
		people.AuthInfos[context], people.Contexts[context] = user, place
		place.AuthInfo, place.Namespace = context, context
	}
	people.Contexts[platform].Namespace = ownNamespace
	people.CurrentContext = platform
	return c, clientcmd.WriteToFile(*people, file)
}

func bedOf(admin *clientcmdapi.Config) bed {
	for _, c := range admin.Clusters {
		raw, err := json.Marshal(c.Extensions[bedExtension])
		if err != nil {
			continue
		}
		var b bed
		if json.Unmarshal(raw, &b) == nil && b.Binaries != "" {
			return b
		}
	}
	return bed{}
}

// tokenLife is how long a manager's token is good. There is no Pod whose kubelet would renew it.
const tokenLife = 24 * time.Hour

// login writes a kubeconfig with a token of a ServiceAccount, and nothing else that could log in.
func (c *cluster) login(ctx context.Context, namespace, account, file string) error {
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: new(int64(tokenLife.Seconds()))}}
	token, err := c.typed.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, account, request, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("token of %s: %w", account, err)
	}
	config := c.admin.DeepCopy()
	context := config.Contexts[config.CurrentContext]
	config.AuthInfos = map[string]*clientcmdapi.AuthInfo{context.AuthInfo: {Token: token.Status.Token}}
	return clientcmd.WriteToFile(*config, file)
}

// ref names one object.
type ref struct {
	kind            schema.GroupVersionResource
	namespace, name string
}

func (r ref) String() string { return r.kind.Resource + " " + r.namespace + "/" + r.name }

func configMap(namespace, name string) ref {
	return ref{schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}, namespace, name}
}

func pod(namespace, name string) ref {
	return ref{schema.GroupVersionResource{Version: "v1", Resource: "pods"}, namespace, name}
}

func resourceQuota(namespace, name string) ref {
	return ref{schema.GroupVersionResource{Version: "v1", Resource: "resourcequotas"}, namespace, name}
}

func deployment(namespace, name string) ref {
	return ref{schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}, namespace, name}
}

func kustomization(namespace, name string) ref {
	return ref{schema.GroupVersionResource{Group: "kustomize.toolkit.fluxcd.io", Version: "v1", Resource: "kustomizations"}, namespace, name}
}

func gitRepository(namespace, name string) ref {
	return ref{schema.GroupVersionResource{Group: "source.toolkit.fluxcd.io", Version: "v1", Resource: "gitrepositories"}, namespace, name}
}

func ociRepository(namespace, name string) ref {
	return ref{schema.GroupVersionResource{Group: "source.toolkit.fluxcd.io", Version: "v1", Resource: "ocirepositories"}, namespace, name}
}

// exists reports whether an object is there now.
func (c *cluster) exists(ctx context.Context, r ref) (bool, error) {
	_, err := c.get(ctx, r)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

func (c *cluster) get(ctx context.Context, r ref) (*unstructured.Unstructured, error) {
	return c.dynamic.Resource(r.kind).Namespace(r.namespace).Get(ctx, r.name, metav1.GetOptions{})
}

// until watches an object until done says so, and returns it as it was then.
func (c *cluster) until(ctx context.Context, r ref, done func(*unstructured.Unstructured) bool) (*unstructured.Unstructured, error) {
	var last *unstructured.Unstructured
	for {
		// Without a resource version a watch begins with the object as it is.
		w, err := c.dynamic.Resource(r.kind).Namespace(r.namespace).Watch(ctx, metav1.ListOptions{
			FieldSelector: fields.OneTermEqualSelector("metadata.name", r.name).String(),
		})
		if err != nil {
			return last, fmt.Errorf("watch %s: %w", r, err)
		}
		found, err := await(ctx, w, &last, done)
		w.Stop()
		switch {
		case found:
			return last, nil
		case errors.Is(err, errWatchEnded):
			continue
		default:
			return last, fmt.Errorf("%s: %w: %s", r, err, conditionOf(last))
		}
	}
}

var errWatchEnded = errors.New("the watch has ended")

func await(ctx context.Context, w watch.Interface, last **unstructured.Unstructured, done func(*unstructured.Unstructured) bool) (bool, error) {
	for {
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case event, ok := <-w.ResultChan():
			if !ok {
				return false, errWatchEnded
			}
			obj, isObject := event.Object.(*unstructured.Unstructured)
			if !isObject || event.Type == watch.Error {
				return false, apierrors.FromObject(event.Object)
			}
			if event.Type == watch.Bookmark || event.Type == watch.Deleted {
				continue
			}
			if *last = obj; done(obj) {
				return true, nil
			}
		}
	}
}

// condition is one condition of an object, as far as the demo looks at it.
type condition struct{ Status, Reason, Message string }

func (c condition) String() string {
	if c.Status == "" {
		return "no condition yet"
	}
	return fmt.Sprintf("Ready=%s, %s: %s", c.Status, c.Reason, c.Message)
}

// conditionOf is the condition Ready, or none when it is about an older generation of the object.
func conditionOf(obj *unstructured.Unstructured) condition { return conditionNamed(obj, "Ready") }

func conditionNamed(obj *unstructured.Unstructured, name string) condition {
	if obj == nil {
		return condition{}
	}
	list, _, err := unstructured.NestedSlice(obj.Object, "status", "conditions")
	if err != nil {
		return condition{}
	}
	for _, item := range list {
		m, ok := item.(map[string]any)
		if !ok || m["type"] != name {
			continue
		}
		if generation, ok := m["observedGeneration"].(int64); ok && generation != obj.GetGeneration() {
			return condition{}
		}
		return condition{Status: text(m["status"]), Reason: text(m["reason"]), Message: text(m["message"])}
	}
	return condition{}
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

// field is a string below an object.
func field(obj *unstructured.Unstructured, path ...string) string {
	v, _, err := unstructured.NestedString(obj.Object, path...)
	if err != nil {
		return ""
	}
	return v
}

func ready(obj *unstructured.Unstructured) bool { return conditionOf(obj).Status == "True" }

// refusal waits until a controller has said no to an object for one of the reasons. That it says yes is an error.
func (c *cluster) refusal(ctx context.Context, r ref, reasons ...string) (*unstructured.Unstructured, error) {
	obj, err := c.until(ctx, r, func(o *unstructured.Unstructured) bool {
		is := conditionOf(o)
		return is.Status == "True" || is.Status == "False" && slices.Contains(reasons, is.Reason)
	})
	if err == nil && ready(obj) {
		err = fmt.Errorf("%s was accepted: %s", r, conditionOf(obj))
	}
	return obj, err
}
