// SPDX-License-Identifier: Apache-2.0

package chaos_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// given is the object that nothing changes until the application is asked to give its name away.
const given = "ConfigMap/z"

// slots are the objects an application may have. The first is always there, since a source without any is an error.
func slots() []string {
	return []string{"ConfigMap/a", "ConfigMap/b", "ConfigMap/c", "ConfigMap/d", "ServiceAccount/e", "Service/f", "Role/g", "Widget/h"}
}

func appName(i int) string { return fmt.Sprintf("app-%02d", i) }

// roleName is that of an application's Role, or of the other Role that an inventory would write in the same way.
func roleName(i int, other bool) string {
	if (i%2 == 0) != other {
		return appName(i) + "__g"
	}
	return appName(i) + ":g"
}

// content is what the repository holds: for each application the version of each object that it has.
type content struct {
	round   int
	widgets widgets
	apps    []map[string]int
}

func newContent(random *rand.Rand, w widgets, apps int) *content {
	c := &content{widgets: w}
	for range apps {
		c.apps = append(c.apps, map[string]int{slots()[0]: 0, given: 0})
	}
	c.change(random)
	return c
}

// change adds, changes and removes objects of about half of the applications.
func (c *content) change(random *rand.Rand) {
	c.round++
	for i, app := range c.apps {
		if i != 0 && random.IntN(2) == 0 {
			continue
		}
		app[slots()[0]] = c.round
		for _, slot := range slots()[1:] {
			switch random.IntN(3) {
			case 0:
				delete(app, slot)
			case 1:
				app[slot] = c.round
			}
		}
	}
}

// retire takes away an object for good, and returns its name.
func (c *content) retire(i int) string {
	delete(c.apps[i], given)
	_, name := split(i, given)
	return name
}

// files are the manifests, a folder for each application.
func (c *content) files() map[string]string {
	files := map[string]string{}
	for i, app := range c.apps {
		for slot, version := range app {
			files[appName(i)+"/"+strings.ToLower(strings.ReplaceAll(slot, "/", "-"))+".yaml"] = c.manifest(i, slot, version)
		}
	}
	return files
}

// objects are those an application should have, with their versions, keyed "Kind/name".
func (c *content) objects(i int) map[string]string {
	out := map[string]string{}
	for slot, version := range c.apps[i] {
		kind, name := split(i, slot)
		out[kind+"/"+name] = fmt.Sprint("v", version)
	}
	return out
}

// inventory is what the status of an application should hold.
func (c *content) inventory(i int, namespace string) map[string]bool {
	groups := map[string]string{"Role": "rbac.authorization.k8s.io", "Widget": c.widgets.group}
	out := map[string]bool{}
	for slot := range c.apps[i] {
		kind, name := split(i, slot)
		out[strings.Join([]string{namespace, wireName(kind, name), groups[kind], kind}, "_")] = true
	}
	return out
}

// wireName is how an inventory writes a name.
func wireName(kind, name string) string {
	if kind == "Role" {
		return strings.ReplaceAll(name, ":", "__")
	}
	return name
}

func split(i int, slot string) (kind, name string) {
	kind, letter, _ := strings.Cut(slot, "/")
	if kind == "Role" {
		return kind, roleName(i, false)
	}
	return kind, appName(i) + "-" + letter
}

// versionKey is the annotation by which a live object tells of which commit it is.
const versionKey = "chaos/version"

func (c *content) manifest(i int, slot string, version int) string {
	kind, name := split(i, slot)
	api := map[string]string{"Role": "rbac.authorization.k8s.io/v1", "Widget": c.widgets.group + "/v1"}[kind]
	if api == "" {
		api = "v1"
	}
	head := fmt.Sprintf("apiVersion: %s\nkind: %s\nmetadata: {name: %q, annotations: {%s: v%d}}\n", api, kind, name, versionKey, version)
	switch kind {
	case "ConfigMap":
		return head + fmt.Sprintf("data: {version: v%d}\n", version)
	case "Service":
		return head + "spec: {clusterIP: None, selector: {app: " + name + "}, ports: [{name: http, port: 80}]}\n"
	case "Role":
		return head + "rules: [{apiGroups: [\"\"], resources: [configmaps], verbs: [get]}]\n"
	case "Widget":
		return head + fmt.Sprintf("spec: {version: v%d}\n", version)
	default:
		return head
	}
}

// writes counts changes of the tenant's ConfigMaps.
type writes struct{ seen chan struct{} }

// watchWrites counts until the test ends, also across the API server's end.
func watchWrites(t *testing.T, c client.WithWatch, namespace string) *writes {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	w := &writes{seen: make(chan struct{}, 1<<16)}
	go func() {
		for ctx.Err() == nil {
			events, err := c.Watch(ctx, &corev1.ConfigMapList{}, client.InNamespace(namespace))
			if err != nil {
				time.Sleep(50 * time.Millisecond)
				continue
			}
			for range events.ResultChan() {
				w.seen <- struct{}{}
			}
			events.Stop()
		}
	}()
	return w
}

// await returns after so many further writes, or when there were none for too long.
func (w *writes) await(t *testing.T, count int, patience time.Duration) {
	t.Helper()
	for len(w.seen) > 0 {
		<-w.seen
	}
	limit := time.After(patience)
	for range count {
		select {
		case <-w.seen:
		case <-limit:
			return
		}
	}
}
