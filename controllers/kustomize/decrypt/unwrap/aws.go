// SPDX-License-Identifier: Apache-2.0

package unwrap

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"sigs.k8s.io/yaml"

	"sluice.dev/sluice/controllers/kustomize/decrypt/sops"
	"sluice.dev/sluice/internal/cloud"
)

// aws decrypts with AWS KMS.
func (o *Opener) aws(ctx context.Context, key sops.Key) ([]byte, error) {
	kms, err := cloud.ParseKMSKey(key.Fields["arn"])
	if err != nil {
		return nil, err
	}
	cred, err := o.awsCredential(ctx, kms.Region())
	if err != nil {
		return nil, err
	}
	sealed, err := base64.StdEncoding.DecodeString(key.Encrypted)
	if err != nil {
		return nil, errors.New("the encrypted data key is no base64")
	}
	if role := key.Fields["role"]; role != "" {
		if cred, err = o.awsRole(ctx, cred, kms.Region(), role); err != nil {
			return nil, fmt.Errorf("role %s: %w", sops.Printable(role), err)
		}
	}
	data, err := o.config.Clouds.KMSDecrypt(ctx, cred, kms, sealed, key.Context)
	return data, explained(err)
}

// awsRole exchanges a credential for one of the role that a file names, which the role's owner must permit.
func (o *Opener) awsRole(ctx context.Context, cred cloud.AWSCredential, region cloud.Region, arn string) (cloud.AWSCredential, error) {
	role, err := cloud.ParseRoleARN(arn)
	if err != nil {
		return cloud.AWSCredential{}, err
	}
	return o.config.Clouds.SwitchRole(ctx, cred, region, role, "sops@sluice")
}

// awsCredential returns the entry of the Secret, else what the account is given in exchange for its token.
func (o *Opener) awsCredential(ctx context.Context, region cloud.Region) (cloud.AWSCredential, error) {
	data, ok := o.creds.entries[awsEntry]
	if !ok {
		return o.awsWebIdentity(ctx, region)
	}
	var entry struct {
		ID     string `json:"aws_access_key_id"`
		Secret string `json:"aws_secret_access_key"`
		Token  string `json:"aws_session_token"`
	}
	if yaml.Unmarshal(data, &entry) != nil || entry.ID == "" || entry.Secret == "" {
		return cloud.AWSCredential{}, fmt.Errorf("entry %s: want YAML with aws_access_key_id and aws_secret_access_key", awsEntry)
	}
	return cloud.NewAWSCredential(entry.ID, cloud.Secret(entry.Secret), cloud.Secret(entry.Token)), nil
}

// awsWebIdentity exchanges a token of the account for a credential of its role, once for a region and run.
func (o *Opener) awsWebIdentity(ctx context.Context, region cloud.Region) (cloud.AWSCredential, error) {
	if cred, ok := o.awsGiven[region]; ok {
		return cred, nil
	}
	account, annotations, err := o.creds.cloud(ctx, awsEntry)
	if err != nil {
		return cloud.AWSCredential{}, err
	}
	role, err := cloud.ParseRole(annotations)
	if err != nil {
		return cloud.AWSCredential{}, unnamed(account, awsEntry, err)
	}
	var cred cloud.AWSCredential
	err = exchange(ctx, account, cloud.AWSAudience, func(token string, _ time.Time) (err error) {
		cred, err = o.config.Clouds.AssumeRole(ctx, region, role, account.Namespace(), account.ServiceAccount(), cloud.Secret(token))
		return err
	})
	if err == nil {
		o.awsGiven[region] = cred
	}
	return cred, err
}
