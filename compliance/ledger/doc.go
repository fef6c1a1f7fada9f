// SPDX-License-Identifier: Apache-2.0

// Package ledger is the evidence log: one append-only file in which every entry names the hash of the one before, so that
// a changed, removed or reordered entry shows. What a controller is about to write to a cluster stands in it, on disk,
// before the first write (Intend), and what became of it afterwards (Conclude).
//
// The file is ledger.jsonl in the ledger's folder. A line is {"entry":E,"hash":"sha256:<hex>"}; the hash is taken over
// the bytes of E, which is JSON in the canonical form of RFC 8785. E has seq, prev (the hash of the line before; zeros
// for the first), time, mono (milliseconds since the ledger was opened, which no change of the wall clock disturbs),
// clusterUID, component, type, version, and where they apply tenant, run, subjects and body. Numbers are integers.
//
// What it refuses: a second writer, an entry over MaxEntry, a number that is no integer, and to open a file whose chain is
// broken. An incomplete last line is what a crash leaves: it is cut off and an entry of type gap says so. Entries that
// were acknowledged are never cut off.
//
// What it does not do: it signs nothing and anchors nothing outside the file yet, so whoever can write the file can
// rewrite all of it or cut its end; it keeps no secrets, and takes none: bodies carry digests, salted for Secret data by
// their maker. Reports and exports are other rooms of compliance/.
package ledger
