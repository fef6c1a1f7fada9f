// SPDX-License-Identifier: Apache-2.0

package unwrap

import (
	"context"
	"fmt"
	"time"

	"sluice.dev/sluice/controllers/kustomize/decrypt/sops"
	"sluice.dev/sluice/internal/cloud"
)

// gcp decrypts with Google Cloud KMS.
func (o *Opener) gcp(ctx context.Context, key sops.Key) ([]byte, error) {
	kms, err := cloud.ParseGoogleKMSKey(key.Fields["resource_id"])
	if err != nil {
		return nil, err
	}
	token, err := o.token(gcpEntry, func() (cloud.Token, error) { return o.gcpToken(ctx) })
	if err != nil {
		return nil, err
	}
	data, err := o.config.Clouds.GoogleDecrypt(ctx, token, kms, key.Encrypted)
	return data, explained(err)
}

// gcpToken gets a token with the key of a service account in the Secret, else with a token of the account.
func (o *Opener) gcpToken(ctx context.Context) (cloud.Token, error) {
	document, ok := o.creds.entries[gcpEntry]
	if !ok {
		return o.gcpFederated(ctx)
	}
	key, err := cloud.ParseGoogleKey(document)
	if err != nil {
		return cloud.Token{}, fmt.Errorf("entry %s: want the JSON key file of a service account: %w", gcpEntry, err)
	}
	token, err := o.config.Clouds.GoogleKeyToken(ctx, key, cloud.GoogleKMSScope, o.config.Backend)
	if err != nil {
		return cloud.Token{}, fmt.Errorf("entry %s: %w", gcpEntry, explained(err))
	}
	return token, nil
}

// gcpFederated exchanges a token of the account.
func (o *Opener) gcpFederated(ctx context.Context) (cloud.Token, error) {
	account, annotations, err := o.creds.cloud(ctx, gcpEntry)
	if err != nil {
		return cloud.Token{}, err
	}
	id, err := cloud.ParseGoogleIdentity(annotations)
	if err != nil {
		return cloud.Token{}, unnamed(account, gcpEntry, err)
	}
	audience, err := o.config.Clouds.GoogleAudience(ctx, id)
	if err != nil {
		return cloud.Token{}, unnamed(account, gcpEntry, err)
	}
	var out cloud.Token
	err = exchange(ctx, account, audience, func(token string, _ time.Time) (err error) {
		out, err = o.config.Clouds.GoogleKMSToken(ctx, id, cloud.Secret(token))
		return err
	})
	return out, err
}
