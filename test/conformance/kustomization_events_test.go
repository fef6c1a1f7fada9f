// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	eventv1 "github.com/fluxcd/pkg/apis/event/v1beta1"

	"sluice.dev/sluice/internal/transport"
)

// ksEvents receives events as notification-controller does.
type ksEvents struct {
	url string

	mu   sync.Mutex
	list []eventv1.Event
}

func newKsEvents(t *testing.T) *ksEvents {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e := &ksEvents{url: "http://" + l.Addr().String() + "/"}
	server := transport.NewServer(e, transport.ServerOptions{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
	return e
}

// ServeHTTP takes one event.
func (e *ksEvents) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	var event eventv1.Event
	if err := json.NewDecoder(req.Body).Decode(&event); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, event)
}

// of returns the events about an object so far.
func (e *ksEvents) of(obj client.Object) []eventv1.Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []eventv1.Event
	for _, event := range e.list {
		if about(event.InvolvedObject, obj) {
			out = append(out, event)
		}
	}
	return out
}

func about(ref corev1.ObjectReference, obj client.Object) bool {
	return ref.Namespace == obj.GetNamespace() && ref.Name == obj.GetName() && ref.UID == obj.GetUID()
}

// told waits for an event of a severity about an object, with text in its message, and returns it.
func (x *ksSpace) told(obj client.Object, severity, text string) eventv1.Event {
	x.t.Helper()
	var found eventv1.Event
	x.eventually(soon, "an "+severity+" event about "+obj.GetName()+" with "+text, func() bool {
		for _, event := range x.posted.of(obj) {
			if event.Severity == severity && strings.Contains(event.Message, text) {
				found = event
				return true
			}
		}
		return false
	})
	return found
}
