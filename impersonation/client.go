// SPDX-License-Identifier: Apache-2.0

package impersonation

import (
	"context"
	"errors"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sluice.dev/sluice/impersonation/internal/seal"
)

// Target names the cluster that is acted on. The zero Target is the cluster the manager runs against.
type Target struct{}

// ErrNoServiceAccount is wrapped by the error of a Broker, and by those of a Client made earlier, when the ServiceAccount
// certainly does not exist. It is no NotFound of the API: that would pass for the absence of the object asked for.
var ErrNoServiceAccount = errors.New("the ServiceAccount does not exist")

// Broker makes Clients. An error of kind Denied says that the identity may not be used, with the remedy, and may wrap
// ErrNoServiceAccount; any other error may pass by itself. A Broker may be used by several goroutines at once.
type Broker interface {
	Client(ctx context.Context, id Identity, t Target) (Client, error)
}

// Client acts as exactly one Identity. It is a concrete type with private fields, so that neither embedding nor a
// literal makes one of the manager's own client. The zero Client acts as nobody: each of its calls fails with
// ErrNobody.
type Client struct {
	identity Identity
	kube     client.WithWatch
	mapper   meta.RESTMapper
}

// NewClient is for the brokers below this package alone. With an invalid identity or without a client it returns the
// zero Client.
func NewClient(_ seal.Key, id Identity, kube client.WithWatch, mapper meta.RESTMapper) Client {
	if !id.Valid() || kube == nil || mapper == nil {
		return Client{}
	}
	return Client{identity: id, kube: kube, mapper: mapper}
}

// Valid reports whether the client acts as somebody.
func (c Client) Valid() bool { return c.kube != nil }

// Identity returns as whom the client acts.
func (c Client) Identity() Identity { return c.identity }

// Kube returns the client whose requests carry the identity's credentials. It does not cache reads.
func (c Client) Kube() client.WithWatch {
	if !c.Valid() {
		return nobody{}
	}
	return c.kube
}

// Mapper returns the cluster's kinds. It is one for all identities of a cluster, and reads discovery as the manager: what
// kinds a cluster serves is no secret, and under constrained impersonation a tenant may not ask (KEP-5284).
func (c Client) Mapper() meta.RESTMapper {
	if !c.Valid() {
		return nobody{}.RESTMapper()
	}
	return c.mapper
}
