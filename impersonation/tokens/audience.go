// SPDX-License-Identifier: Apache-2.0

package tokens

import (
	"context"
	"errors"
	"time"

	"sluice.dev/sluice/impersonation"
)

// presented finds the credential of an identity for one audience.
type presented struct {
	id       impersonation.Identity
	audience string
}

// AudienceToken returns a token by which id shows who it is to one service that trusts this cluster's issuer, a Vault for
// example, and until when to use it: ask again then, or once it was refused. An audience that is this cluster's own is refused,
// so the token acts as nobody here. Field is the one that names the ServiceAccount, for messages.
func (b *Broker) AudienceToken(ctx context.Context, id impersonation.Identity, audience, field string) (string, time.Time, error) {
	switch {
	case !id.Valid():
		return "", time.Time{}, impersonation.ErrNobody
	case audience == "":
		return "", time.Time{}, errors.New("a token for no audience would be good at the API server")
	}
	e := b.abroad.Use(presented{id, audience}, b.config.Now(), func() *Elsewhere { return b.elsewhere(id, purpose{[]string{audience}, field}) })
	t, err := e.current(ctx)
	if err != nil {
		return "", time.Time{}, err
	}
	return string(t.value), t.renewAt, nil
}

// AudienceTokenRefused says that a service did not accept the token of AudienceToken. The next one is new, unless this one is.
func (b *Broker) AudienceTokenRefused(id impersonation.Identity, audience string) {
	if e, ok := b.abroad.Get(presented{id, audience}); ok {
		e.Refused()
	}
}
