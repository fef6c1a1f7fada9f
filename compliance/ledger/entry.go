// SPDX-License-Identifier: Apache-2.0

package ledger

import "time"

// MaxEntry bounds one entry in bytes. An intent over 20 000 objects fits.
const MaxEntry = 8 << 20

// version is the version of the entry format.
const version = 1

// Type says what an entry is about.
type Type string

// The types of entries.
const (
	// Opened is written each time a ledger is opened; intents it lists were interrupted.
	Opened Type = "ledger.opened"
	// Gap says that something is missing here, and why.
	Gap Type = "gap"
	// Heartbeat proves that the writer was alive.
	Heartbeat Type = "heartbeat"
	// Started is written once by each process.
	Started Type = "controller.started"
	// SourceVerified, ArtifactStored, Rendered and PolicyDecision follow a change on its way to the cluster.
	SourceVerified Type = "source.verified"
	ArtifactStored Type = "artifact.stored"
	Rendered       Type = "rendered"
	PolicyDecision Type = "policy.decision"
	IdentityMinted Type = "identity.minted"
	// AccessDenied tells what an object asked for that nobody may give it, and VerificationRefused what did not prove where it
	// comes from.
	AccessDenied        Type = "access.denied"
	VerificationRefused Type = "verification.refused"
	// ApplyIntent and ApplyOutcome are the pair around all writes of one run.
	ApplyIntent  Type = "apply.intent"
	ApplyOutcome Type = "apply.outcome"
	// DriftDetected and DriftReverted tell of changes by others.
	DriftDetected Type = "drift.detected"
	DriftReverted Type = "drift.reverted"
	// Suspended and Resumed tell when an object was not reconciled.
	Suspended Type = "suspended"
	Resumed   Type = "resumed"
	// ConfigChanged tells of parameters, rules and keys.
	ConfigChanged Type = "config.changed"
)

// Subject names one object an entry is about.
type Subject struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Namespace  string `json:"namespace,omitempty"`
	Name       string `json:"name"`
	UID        string `json:"uid,omitempty"`
}

// Entry is what a caller appends. Type is required.
type Entry struct {
	// Type says what the entry is about.
	Type Type
	// Tenant is the namespace on whose behalf something happened.
	Tenant string
	// Run joins the entries of one reconciliation.
	Run string
	// Subjects are the objects the entry is about.
	Subjects []Subject
	// Body is the type's own content. It becomes JSON, and must hold neither secrets nor numbers that are no integers.
	Body any
}

// Ref names an entry that is on disk.
type Ref struct {
	// Seq is the entry's number, from 1.
	Seq uint64 `json:"seq"`
	// Hash is "sha256:<hex>" of the entry.
	Hash string `json:"hash"`
}

// Action is what is done to one object.
type Action string

// The actions.
const (
	Create Action = "create"
	Update Action = "update"
	Delete Action = "delete"
)

// Change is one object of an intent or an outcome.
type Change struct {
	Action Action  `json:"action"`
	Object Subject `json:"object"`
	// Digest is "sha256:<hex>" of the object as it is to be, or as it was for a deletion. For a Secret it is salted.
	Digest string `json:"digest,omitempty"`
	// ResourceVersion is set in an outcome.
	ResourceVersion string `json:"resourceVersion,omitempty"`
	// Failure says why the change was not made. Empty means that it was.
	Failure string `json:"failure,omitempty"`
}

// Intent is what is about to be written to a cluster.
type Intent struct {
	// Identity is the subject all writes are made as.
	Identity string `json:"identity"`
	// Source is the address of the source, without credentials, and Revision and Digest what came from it.
	Source   string `json:"source,omitempty"`
	Revision string `json:"revision,omitempty"`
	Digest   string `json:"digest,omitempty"`
	// Verification and Signer say how and by whom the source was signed.
	Verification string `json:"verification,omitempty"`
	Signer       string `json:"signer,omitempty"`
	// Unverified is why the platform admitted content that it had neither fetched nor verified. Source, Revision and Digest
	// are then what the source's status said.
	Unverified string `json:"unverified,omitempty"`
	// Bundle, Parameters and Input name the policy decision that allowed it.
	Bundle     string `json:"bundle,omitempty"`
	Parameters string `json:"parameters,omitempty"`
	Input      string `json:"input,omitempty"`
	// Changes are all writes, in order. Objects that need no write are not in it.
	Changes []Change `json:"changes"`
}

// Refusal is what was refused. A denial of policy has its decision instead.
type Refusal struct {
	// Reason and Message are those of the object's condition, without secrets. The message names what was asked for, and what to
	// change.
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// Result is how a run ended.
type Result string

// The results.
const (
	// Succeeded says that all changes were made.
	Succeeded Result = "succeeded"
	// Failed says that not all of them were; each change says what became of it.
	Failed Result = "failed"
)

// Outcome is what became of an intent.
type Outcome struct {
	// Intent is the sequence number of the intent.
	Intent uint64 `json:"intent"`
	// Result says how it ended.
	Result Result `json:"result"`
	// Reason and Message are those of the condition of a failed run, without secrets.
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
	// Changes are the writes that were tried.
	Changes []Change `json:"changes"`
}

// opened is the body of an Opened entry.
type opened struct {
	// Entries is how many entries were found.
	Entries uint64 `json:"entries"`
	// Interrupted lists the intents whose outcome is missing.
	Interrupted []uint64 `json:"interrupted"`
}

// gap is the body of a Gap entry.
type gap struct {
	Reason string `json:"reason"`
	// Bytes is the length of what was cut off.
	Bytes int64 `json:"bytes"`
}

// record is an entry as it stands in the file.
type record struct {
	Seq        uint64    `json:"seq"`
	Prev       string    `json:"prev"`
	Time       time.Time `json:"time"`
	Mono       int64     `json:"mono"`
	ClusterUID string    `json:"clusterUID"`
	Component  string    `json:"component"`
	Type       Type      `json:"type"`
	Version    int       `json:"version"`
	Tenant     string    `json:"tenant,omitempty"`
	Run        string    `json:"run,omitempty"`
	Subjects   []Subject `json:"subjects,omitempty"`
	Body       any       `json:"body,omitempty"`
}
