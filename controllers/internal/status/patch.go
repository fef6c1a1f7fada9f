// SPDX-License-Identifier: Apache-2.0

package status

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	jsonpatch "github.com/evanphx/json-patch/v5"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// ErrStale says that the status on the server is not the one the run started from, or that another object has taken the
// name. What the run decided is void; nothing was written.
var ErrStale = errors.New("status has changed since it was read")

// attempts bounds how often a write is sent again after somebody else wrote to the object's spec or metadata.
const attempts = 4

// Writer sends statuses to the API server.
type Writer struct {
	// Client sends the patch.
	Client client.Client
	// Reader reads past any cache, after a conflict.
	Reader client.Reader
	// Owner is the field manager (spec rows S-11 and K-43).
	Owner string
}

// Plan returns the status patch that turns base into obj: a JSON merge patch of what differs, or nil when nothing does.
func Plan(base, obj client.Object) ([]byte, error) {
	from, err := document(base)
	if err != nil {
		return nil, err
	}
	to, err := document(obj)
	if err != nil {
		return nil, err
	}
	if bytes.Equal(from, to) {
		return nil, nil
	}
	patch, err := jsonpatch.CreateMergePatch(from, to)
	if err != nil {
		return nil, fmt.Errorf("compare statuses: %w", err)
	}
	if bytes.Equal(patch, []byte("{}")) {
		return nil, nil
	}
	return patch, nil
}

// Write sends what differs between the statuses of base and obj, and gives obj the resource version that the write
// made. It reports whether there was anything to send.
//
// The patch carries the resource version, so a write never lands on something this run has not seen. A conflict is not
// an error by itself: when only spec or metadata moved, which a user does at any time, the patch is sent again on top of
// it. When the status moved, Write fails with ErrStale.
func (w Writer) Write(ctx context.Context, base, obj client.Object) (bool, error) {
	patch, err := Plan(base, obj)
	if err != nil || patch == nil {
		return false, err
	}
	version := obj.GetResourceVersion()
	for range attempts {
		var written string
		written, err = w.send(ctx, obj, patch, version)
		if err == nil {
			obj.SetResourceVersion(written)
			return true, nil
		}
		if !apierrors.IsConflict(err) {
			return false, fmt.Errorf("write status: %w", err)
		}
		if version, err = w.rebase(ctx, base); err != nil {
			return false, err
		}
	}
	return false, fmt.Errorf("write status: gave up after %d conflicts: %w", attempts, ErrStale)
}

// send sends a patch for the version of the object that it was made for, and returns the version that it made.
func (w Writer) send(ctx context.Context, obj client.Object, patch []byte, version string) (string, error) {
	data, err := withVersion(patch, version)
	if err != nil {
		return "", err
	}
	target, err := Head(w.Client, obj)
	if err != nil {
		return "", err
	}
	err = w.Client.Status().Patch(ctx, target, client.RawPatch(types.MergePatchType, data), client.FieldOwner(w.Owner))
	return target.GetResourceVersion(), err
}

// Head names an object to a client without its content: the answer to a patch of it is its metadata, which is all that anybody
// wants of an object that is at hand.
func Head(c client.Client, obj client.Object) (*metav1.PartialObjectMetadata, error) {
	gvk, err := c.GroupVersionKindFor(obj)
	if err != nil {
		return nil, fmt.Errorf("kind of %T: %w", obj, err)
	}
	head := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: obj.GetNamespace(), Name: obj.GetName()}}
	head.SetGroupVersionKind(gvk)
	return head, nil
}

// rebase returns the version on the server, provided that its status is still that of base.
func (w Writer) rebase(ctx context.Context, base client.Object) (string, error) {
	live := blank(base)
	if err := w.Reader.Get(ctx, client.ObjectKeyFromObject(base), live); err != nil {
		return "", fmt.Errorf("read after a conflict: %w", err)
	}
	if live.GetUID() != base.GetUID() {
		return "", fmt.Errorf("another object has this name: %w", ErrStale)
	}
	patch, err := Plan(base, live)
	if err != nil {
		return "", err
	}
	if patch != nil {
		return "", ErrStale
	}
	return live.GetResourceVersion(), nil
}

// blank returns an empty object of the type of obj. What the API server answers is decoded into it: decoding into an object in use
// would leave the fields that the answer lacks.
func blank(obj client.Object) client.Object {
	return reflect.New(reflect.TypeOf(obj).Elem()).Interface().(client.Object)
}

// document returns the JSON of an object with nothing but its status, without encoding the rest of it.
func document(obj client.Object) ([]byte, error) {
	status := reflect.Indirect(reflect.ValueOf(obj)).FieldByName("Status")
	if !status.IsValid() {
		return nil, fmt.Errorf("%T has no status", obj)
	}
	doc, err := json.Marshal(struct {
		Status any `json:"status"`
	}{status.Interface()})
	if err != nil {
		return nil, fmt.Errorf("encode status of %T: %w", obj, err)
	}
	return doc, nil
}

// withVersion adds the resource version to a patch, which makes the API server refuse it on any other version.
func withVersion(patch []byte, version string) ([]byte, error) {
	var doc map[string]json.RawMessage
	if err := json.Unmarshal(patch, &doc); err != nil {
		return nil, fmt.Errorf("decode patch: %w", err)
	}
	metadata, err := json.Marshal(map[string]string{"resourceVersion": version})
	if err != nil {
		return nil, fmt.Errorf("encode version: %w", err)
	}
	doc["metadata"] = metadata
	return json.Marshal(doc)
}
