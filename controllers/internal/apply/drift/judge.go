// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sluice.dev/sluice/controllers/internal/apply/ownership"
	"sluice.dev/sluice/controllers/internal/apply/watch"
)

// Ref names an object at the version it is applied with.
type Ref struct {
	GVK  schema.GroupVersionKind
	Name types.NamespacedName
}

// Known is what we left behind when we last applied an object or found it unchanged.
type Known struct {
	UID             types.UID
	ResourceVersion string
	Generation      int64
	// Payload is the digest of what we applied.
	Payload string
	// Fields is the ownership fingerprint, empty when nothing can be told from it: then every new resource version
	// counts as drift.
	Fields string
	// MayVanish says that the object is deleted by the cluster when it is done: that it is gone is then for the owner's next run to
	// find, at its interval, or a Job would run again as soon as it had been cleaned up.
	MayVanish bool
}

// Verdict answers whether an object is still as it was left.
type Verdict int

const (
	// Unknown means that nothing is remembered, something else was applied, or the object has moved. Compare it.
	Unknown Verdict = iota
	// Unverified means that the object is remembered but no watch vouches for it. Its resource version tells.
	Unverified
	// Holds means that a live watch vouches for it. No request is needed.
	Holds
	// Awaited means that the object is remembered and its watch is opening. If it has moved, or cannot be watched, the owner
	// is woken.
	Awaited
)

// Record is what the watch keeps of an object.
type Record struct {
	UID             types.UID
	ResourceVersion string
	Generation      int64
	Fields          string
}

// recorder returns the record function for a field manager.
func recorder(reader ownership.Reader) func(client.Object) Record {
	return func(obj client.Object) Record {
		return Record{
			UID: obj.GetUID(), ResourceVersion: obj.GetResourceVersion(), Generation: obj.GetGeneration(),
			Fields: reader.Fingerprint(obj.GetManagedFields()),
		}
	}
}

// opinion is what a watch says about an object we know.
type opinion int

const (
	// silent: the watch is not live, or has not yet seen as much as we have.
	silent opinion = iota
	// same: the object is as we left it, apart from what is not ours.
	same
	// moved: the object is gone, another one, or lost a field of ours.
	moved
)

// judge is pure. A record older than what we know is our own write that the watch has yet to deliver.
func judge(known Known, seen watch.Seen[Record]) opinion {
	if seen.State != watch.Live {
		return silent
	}
	if !seen.Found {
		if older(seen.Version, known.ResourceVersion) {
			return silent
		}
		return moved
	}
	switch rec := seen.Record; {
	case rec.ResourceVersion == known.ResourceVersion && rec.UID == known.UID:
		return same
	case older(rec.ResourceVersion, known.ResourceVersion):
		return silent
	case rec.UID == known.UID && known.Fields != "" && rec.Fields == known.Fields:
		return same
	default:
		return moved
	}
}

// older reports whether a precedes b. Versions that cannot be compared (an aggregated API may have such) do not.
func older(a, b string) bool {
	order, err := resourceversion.CompareResourceVersion(a, b)
	return err == nil && order < 0
}

// Remembered makes a Known of an object as the API server returned it. Whole says that the object's managed fields
// give us every field we applied; otherwise its fingerprint would not notice the loss of one we never had.
func Remembered(reader ownership.Reader, obj client.Object, payload string, whole bool) Known {
	known := Known{
		UID: obj.GetUID(), ResourceVersion: obj.GetResourceVersion(), Generation: obj.GetGeneration(), Payload: payload,
	}
	if whole {
		known.Fields = reader.Fingerprint(obj.GetManagedFields())
	}
	return known
}
