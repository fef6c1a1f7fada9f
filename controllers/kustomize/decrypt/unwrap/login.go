// SPDX-License-Identifier: Apache-2.0

package unwrap

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"sluice.dev/sluice/internal/cloud"
)

// Account is a ServiceAccount that shows key services who it is.
type Account interface {
	Namespace() string
	ServiceAccount() string
	// Token returns a token that is good for one audience alone, and until when to use it.
	Token(ctx context.Context, audience string) (string, time.Time, error)
	// Refused says that a service did not accept the latest token for an audience.
	Refused(audience string)
	// Annotations returns those of the ServiceAccount, which name its identity in a cloud.
	Annotations(ctx context.Context) (map[string]string, error)
}

// Login is as whom an object logs in where its decryption Secret has no credential. The zero Login logs in nowhere.
type Login struct {
	// Account is who logs in; nil is nobody.
	Account Account
	// Clouds says that the account may log in at AWS, Azure and Google Cloud.
	Clouds bool
	// Vaults are where it may log in to Vault and OpenBao; nil is nowhere.
	Vaults *Logins
}

// With returns the credentials with a login for what they lack. It is no part of their Digest.
func (c Credentials) With(login Login) Credentials {
	c.login = login
	return c
}

// cloud returns who may log in to a cloud where the Secret has no such entry, and the annotations that name its identity there.
func (c Credentials) cloud(ctx context.Context, entry string) (Account, map[string]string, error) {
	if c.login.Account == nil || !c.login.Clouds {
		return nil, nil, errNoEntry(entry)
	}
	annotations, err := c.login.Account.Annotations(ctx)
	return c.login.Account, annotations, err
}

// unnamed says that an account has no identity in a cloud. An entry of the Secret would do as well.
func unnamed(a Account, entry string, why error) error {
	return fmt.Errorf("%w, and %s cannot log in: %w", errNoEntry(entry), named(a), why)
}

// exchange gives a token of the account for an audience to a function that exchanges it.
func exchange(ctx context.Context, a Account, audience string, give func(token string, until time.Time) error) error {
	token, until, err := a.Token(ctx, audience)
	if err != nil {
		return err
	}
	err = give(token, until)
	if refused(err) {
		a.Refused(audience)
	}
	if err != nil {
		return fmt.Errorf("log in as %s: %w", named(a), err)
	}
	return nil
}

// refused reports whether a service understood who asked, and does not permit it.
func refused(err error) bool {
	if refusal, ok := errors.AsType[*cloud.Error](err); ok {
		return refusal.Refused()
	}
	refusal, ok := errors.AsType[*statusError](err)
	return ok && refusal.status < http.StatusInternalServerError
}

func named(a Account) string {
	return fmt.Sprintf("ServiceAccount %q in namespace %q", a.ServiceAccount(), a.Namespace())
}

// role is how Flux names the role of an account at Vault.
func role(a Account) string { return a.Namespace() + "_" + a.ServiceAccount() }
