// SPDX-License-Identifier: Apache-2.0

package impersonation

import (
	"context"
	"errors"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sluice.dev/sluice/impersonation/internal/seal"
)

// ErrNoServiceAccount is wrapped by the error of a Broker, and by those of a Client made earlier, when the ServiceAccount
// certainly does not exist. It is no NotFound of the API: that would pass for the absence of the object asked for.
var ErrNoServiceAccount = errors.New("the ServiceAccount does not exist")

// Broker makes Clients. An error of kind Denied says that the identity or the target may not be used, with the remedy; any other
// may pass by itself. It may wrap ErrNoServiceAccount or ErrNoCredentials. A Broker may be used by several goroutines at once.
type Broker interface {
	Client(ctx context.Context, id Identity, t Target) (Client, error)
}

// Client acts as exactly one Identity. It is a concrete type with private fields, so that neither embedding nor a
// literal makes one of the manager's own client. The zero Client acts as nobody: each of its calls fails with
// ErrNobody.
type Client struct {
	identity Identity
	cluster  Cluster
	kube     client.WithWatch
	mapper   meta.RESTMapper
}

// Cluster says where a client acts, and with what. The zero Cluster is the manager's own, acted on with the credentials of
// the Identity. Clusters can be compared and used as map keys.
type Cluster struct {
	// Digest stands for the address, the trust, the credentials and the user. Clients that differ in it share nothing.
	Digest string
	// Server is the address of the API server, without credentials.
	Server string
	// User is as whom the client acts there, in words.
	User string
}

// NewClient is for the brokers below this package alone. With an invalid identity or without a client it returns the
// zero Client.
func NewClient(_ seal.Key, id Identity, kube client.WithWatch, mapper meta.RESTMapper) Client {
	if !id.Valid() || kube == nil || mapper == nil {
		return Client{}
	}
	return Client{identity: id, kube: kube, mapper: mapper}
}

// NewRemoteClient is NewClient for another cluster than the manager's. A cluster without digest could not be told from the
// manager's own, and yields the zero Client.
func NewRemoteClient(_ seal.Key, id Identity, cluster Cluster, kube client.WithWatch, mapper meta.RESTMapper) Client {
	c := NewClient(seal.Key{}, id, kube, mapper)
	if !c.Valid() || cluster.Digest == "" {
		return Client{}
	}
	c.cluster = cluster
	return c
}

// Valid reports whether the client acts as somebody.
func (c Client) Valid() bool { return c.kube != nil }

// Identity returns as whom the client acts; on a remote cluster, whose credentials it found there.
func (c Client) Identity() Identity { return c.identity }

// Cluster returns where the client acts.
func (c Client) Cluster() Cluster { return c.cluster }

// Actor returns who acts, for evidence and messages: the subject, and for a remote cluster "<user> at <server>".
func (c Client) Actor() string {
	if c.cluster == (Cluster{}) {
		return c.identity.String()
	}
	return c.cluster.User + " at " + c.cluster.Server
}

// Kube returns the client whose requests carry the identity's credentials. It does not cache reads.
func (c Client) Kube() client.WithWatch {
	if !c.Valid() {
		return nobody{}
	}
	return c.kube
}

// Mapper returns the cluster's kinds. In the manager's own cluster it is one for all identities, and reads discovery as the
// manager; in another, as the user of the credentials. What kinds a cluster serves is no secret, and under constrained
// impersonation a tenant may not ask (KEP-5284).
func (c Client) Mapper() meta.RESTMapper {
	if !c.Valid() {
		return nobody{}.RESTMapper()
	}
	return c.mapper
}
