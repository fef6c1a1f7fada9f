// SPDX-License-Identifier: Apache-2.0

package ownership

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"sluice.dev/sluice/internal/fips"
)

// Reader reads managed fields for one field manager.
type Reader struct {
	manager   string
	overrides []string
	digests   fips.Digests
}

// NewReader returns a Reader for our manager. Overrides are prefixes of further managers whose fields are absorbed
// (--override-manager).
func NewReader(manager string, overrides []string, digests fips.Digests) Reader {
	return Reader{manager: manager, overrides: slices.Clone(overrides), digests: digests}
}

// Manager returns the name of our field manager.
func (r Reader) Manager() string { return r.manager }

// Fingerprint returns a digest of our entry and of every entry we would absorb. It changes when somebody took a field
// of ours, applied under our name, or became a manager we absorb; it does not change with status or with other
// people's fields. It is empty when we own nothing, in which case nothing can be told from it.
func (r Reader) Fingerprint(entries []metav1.ManagedFieldsEntry) string {
	if r.own(entries) == nil {
		return ""
	}
	return r.digest(entries)
}

// Covers reports whether live gives our manager every field that wanted does, whenever it got them. Then the fingerprint of
// live notices the loss of any.
func (r Reader) Covers(live, wanted []metav1.ManagedFieldsEntry) bool {
	have, want := r.own(live), r.own(wanted)
	if have == nil || want == nil || have.APIVersion != want.APIVersion {
		return false
	}
	haveSet, err := fieldsOf(*have)
	if err != nil {
		return false
	}
	wantSet, err := fieldsOf(*want)
	return err == nil && wantSet.Difference(haveSet).Empty()
}

// isOwn reports whether an entry is what our manager applied.
func (r Reader) isOwn(e metav1.ManagedFieldsEntry) bool {
	return e.Manager == r.manager && e.Operation == metav1.ManagedFieldsOperationApply && e.Subresource == ""
}

// fieldsOf returns the fields of an entry.
func fieldsOf(e metav1.ManagedFieldsEntry) (*fieldpath.Set, error) {
	set := &fieldpath.Set{}
	if e.FieldsV1 == nil {
		return set, nil
	}
	if err := set.FromJSON(bytes.NewReader(e.FieldsV1.GetRawBytes())); err != nil {
		return nil, fmt.Errorf("read managed fields of %q: %w", e.Manager, err)
	}
	return set, nil
}

func (r Reader) own(entries []metav1.ManagedFieldsEntry) *metav1.ManagedFieldsEntry {
	for i := range entries {
		if r.isOwn(entries[i]) {
			return &entries[i]
		}
	}
	return nil
}

func (r Reader) digest(entries []metav1.ManagedFieldsEntry) string {
	var b bytes.Buffer
	for _, e := range entries {
		if !r.isOwn(e) && !r.absorbs(e) {
			continue
		}
		fmt.Fprintf(&b, "%q %q %q ", e.Manager, e.Operation, e.APIVersion)
		if e.Time != nil {
			b.WriteString(e.Time.UTC().Format(time.RFC3339))
		}
		writeFields(&b, e.FieldsV1)
		b.WriteByte('\n')
	}
	sum, err := fips.Sum(r.digests, crypto.SHA256, b.Bytes())
	if err != nil {
		return "" // a backend without SHA-256 did not pass its self-test; without a fingerprint every change counts
	}
	return hex.EncodeToString(sum[:16])
}

// writeFields writes fields in their canonical order: the same set comes in a different order depending on how the
// object was decoded.
func writeFields(b *bytes.Buffer, fields *metav1.FieldsV1) {
	if fields == nil {
		return
	}
	var set fieldpath.Set
	if err := set.FromJSON(bytes.NewReader(fields.GetRawBytes())); err == nil {
		if raw, err := set.ToJSON(); err == nil {
			b.Write(raw)
			return
		}
	}
	b.Write(fields.GetRawBytes())
}

// absorbs reports whether the fields of an entry are taken over. Entries of a subresource are not: what a controller
// writes to status, or an autoscaler to scale, is theirs.
func (r Reader) absorbs(e metav1.ManagedFieldsEntry) bool {
	if e.Subresource != "" {
		return false
	}
	switch {
	case strings.HasPrefix(e.Manager, "kubectl"), e.Manager == "before-first-apply":
		return true
	case e.Manager == r.manager:
		return e.Operation == metav1.ManagedFieldsOperationUpdate
	default:
		return slices.ContainsFunc(r.overrides, func(prefix string) bool { return strings.HasPrefix(e.Manager, prefix) })
	}
}

// Absorb returns the entries after our manager took over every entry it absorbs, and whether there was one. The
// version of our entry becomes apiVersion.
func (r Reader) Absorb(entries []metav1.ManagedFieldsEntry, apiVersion string, now time.Time) ([]metav1.ManagedFieldsEntry, bool, error) {
	fields := &fieldpath.Set{}
	var kept []metav1.ManagedFieldsEntry
	absorbed := false
	for _, e := range entries {
		own := r.isOwn(e)
		if !own && !r.absorbs(e) {
			kept = append(kept, e)
			continue
		}
		absorbed = absorbed || !own
		set, err := fieldsOf(e)
		if err != nil {
			return nil, false, err
		}
		fields = fields.Union(set)
	}
	if !absorbed {
		return entries, false, nil
	}
	raw, err := fields.ToJSON()
	if err != nil {
		return nil, false, fmt.Errorf("write managed fields: %w", err)
	}
	at := metav1.NewTime(now)
	kept = append(kept, metav1.ManagedFieldsEntry{
		Manager: r.manager, Operation: metav1.ManagedFieldsOperationApply, APIVersion: apiVersion, Time: &at,
		FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(string(raw)),
	})
	return kept, true, nil
}
