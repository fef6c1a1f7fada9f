// SPDX-License-Identifier: Apache-2.0

package chaos_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// slots are the objects an application may have. The first is always there, since a source without any is an error.
func slots() []string {
	return []string{"ConfigMap/a", "ConfigMap/b", "ConfigMap/c", "ConfigMap/d", "ServiceAccount/e", "Service/f"}
}

func appName(i int) string { return fmt.Sprintf("app-%02d", i) }

// content is what the repository holds: for each application the version of each object that it has.
type content struct {
	round int
	apps  []map[string]int
}

func newContent(random *rand.Rand) *content {
	c := &content{}
	for range apps + mortals {
		c.apps = append(c.apps, map[string]int{slots()[0]: 0})
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

// files are the manifests, a folder for each application.
func (c *content) files() map[string]string {
	files := map[string]string{}
	for i, app := range c.apps {
		for slot, version := range app {
			kind, name := split(i, slot)
			files[appName(i)+"/"+name+".yaml"] = manifest(kind, name, version)
		}
	}
	return files
}

// objects are those an application should have, with their versions, keyed "Kind/name".
func (c *content) objects(i int) map[string]string {
	out := map[string]string{}
	for slot, version := range maps.All(c.apps[i]) {
		kind, name := split(i, slot)
		out[kind+"/"+name] = fmt.Sprint("v", version)
	}
	return out
}

func split(i int, slot string) (kind, name string) {
	for at := range slot {
		if slot[at] == '/' {
			return slot[:at], appName(i) + "-" + slot[at+1:]
		}
	}
	return slot, appName(i)
}

// versionKey is the annotation by which a live object tells of which commit it is.
const versionKey = "chaos/version"

func manifest(kind, name string, version int) string {
	head := fmt.Sprintf("apiVersion: v1\nkind: %s\nmetadata: {name: %s, annotations: {%s: v%d}}\n", kind, name, versionKey, version)
	switch kind {
	case "ConfigMap":
		return head + fmt.Sprintf("data: {version: v%d}\n", version)
	case "Service":
		return head + "spec: {clusterIP: None, selector: {app: " + name + "}, ports: [{name: http, port: 80}]}\n"
	default:
		return head
	}
}

// writes counts changes of the tenant's ConfigMaps.
type writes struct{ seen chan struct{} }

func watchWrites(t *testing.T, c client.WithWatch, namespace string) *writes {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	events, err := c.Watch(ctx, &corev1.ConfigMapList{}, client.InNamespace(namespace))
	if err != nil {
		t.Fatal(err)
	}
	w := &writes{seen: make(chan struct{}, 1<<16)}
	go func() {
		defer events.Stop()
		for range events.ResultChan() {
			w.seen <- struct{}{}
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
