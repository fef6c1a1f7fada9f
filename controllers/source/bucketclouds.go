// SPDX-License-Identifier: Apache-2.0

package source

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/internal/bucket"
	"sluice.dev/sluice/internal/cloud"
	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/internal/transport"
)

// The resources of the clouds' stores, for which tokens are.
const (
	googleReadOnly = "https://www.googleapis.com/auth/devstorage.read_only"
	azureStorage   = "https://storage.azure.com"
)

// awsBucket reads S3 with the access key of a Secret, or as a role of AWS.
func (c Config) awsBucket(ctx context.Context, obj *sourcev1.Bucket, proxy transport.Proxy) (bucket.Service, error) {
	if obj.Spec.SecretRef != nil {
		return c.keyBucket(ctx, obj)
	}
	config := c.s3(obj)
	if config.Region == "" {
		config.Region = bucket.HostRegion(obj.Spec.Endpoint)
	}
	region, err := cloud.ParseRegion(config.Region)
	if err != nil {
		return nil, fault.New(fault.Invalid, sourcev1.InvalidProviderConfigurationReason, "spec.region %q: %w", config.Region, err)
	}
	if obj.Spec.STS != nil {
		if region, err = stsRegion(obj.Spec.STS); err != nil {
			return nil, err
		}
	}
	w, err := c.workload(ctx, login{obj.Namespace, obj.Spec.ServiceAccountName, obj.Spec.Provider, proxy})
	if err != nil {
		return nil, err
	}
	cred, err := w.aws(ctx, region)
	if err != nil {
		return nil, err
	}
	config.Credential = func(context.Context) (cloud.AWSCredential, error) { return cred, nil }
	return bucket.NewS3(config)
}

// stsRegion reads the region of a token service of AWS from its address. A token goes to no other.
func stsRegion(sts *sourcev1.BucketSTSSpec) (cloud.Region, error) {
	invalid := func(why string) (cloud.Region, error) {
		return cloud.Region{}, fault.New(fault.Invalid, sourcev1.InvalidSTSConfigurationReason, "spec.sts: %s", why)
	}
	if sts.Provider != sourcev1.STSProviderAmazon {
		return invalid("STS provider '" + sts.Provider + "' is not supported for 'aws' bucket provider")
	}
	u, err := url.Parse(sts.Endpoint)
	if err != nil || u.Scheme != "https" {
		return invalid("endpoint: want https://sts.<region>.amazonaws.com")
	}
	if u.Host == "sts.amazonaws.com" { // what used to be one for all regions
		return cloud.ParseRegion("us-east-1")
	}
	name, _, _ := strings.Cut(strings.TrimPrefix(u.Host, "sts."), ".")
	region, err := cloud.ParseRegion(name)
	if err != nil || u.Host != "sts."+region.Name()+"."+region.Domain() {
		return invalid("endpoint: want https://sts.<region>.amazonaws.com")
	}
	return region, nil
}

// googleBucket reads Google Cloud Storage with the key of a Secret, or as an identity of Google Cloud.
func (c Config) googleBucket(ctx context.Context, obj *sourcev1.Bucket, proxy transport.Proxy) (bucket.Service, error) {
	config := bucket.TokenConfig{Endpoint: obj.Spec.Endpoint, Bucket: obj.Spec.BucketName}
	if obj.Spec.SecretRef == nil {
		w, err := c.workload(ctx, login{obj.Namespace, obj.Spec.ServiceAccountName, obj.Spec.Provider, proxy})
		if err != nil {
			return nil, err
		}
		config.Token = w.google
		return bucket.NewGCS(config)
	}
	data, err := c.secretData(ctx, obj.Namespace, obj.Spec.SecretRef)
	if err != nil {
		return nil, err
	}
	document, ok := data["serviceaccount"]
	if !ok {
		return nil, fault.New(fault.Retry, sourcev1.AuthenticationFailedReason, "invalid '%s' secret data: required fields 'serviceaccount'", obj.Spec.SecretRef.Name)
	}
	key, err := cloud.ParseGoogleKey(document)
	if err != nil {
		return nil, fault.New(fault.Retry, sourcev1.AuthenticationFailedReason, "secret '%s/%s': entry %q: %w", obj.Namespace, obj.Spec.SecretRef.Name, "serviceaccount", err)
	}
	clouds, err := c.Accounts.Clouds.Through(proxy)
	if err != nil {
		return nil, err
	}
	config.Token = c.keptToken(obj, []string{string(document)}, func(ctx context.Context) (cloud.Token, error) {
		return clouds.GoogleKeyToken(ctx, key, googleReadOnly, c.Backend)
	})
	return bucket.NewGCS(config)
}

// keptToken keeps the token of what a Secret holds, for the sources of its namespace.
func (c Config) keptToken(obj *sourcev1.Bucket, secret []string, fresh func(context.Context) (cloud.Token, error)) func(context.Context) (cloud.Token, error) {
	return func(ctx context.Context) (cloud.Token, error) {
		key, err := c.credentialKey(obj.Spec.Provider, append(slices.Clone(secret), obj.Namespace)...)
		if err != nil {
			return cloud.Token{}, err
		}
		return kept(ctx, c.Accounts.Kept, key, func() (cloud.Token, time.Time, error) {
			t, err := fresh(ctx)
			if err != nil {
				err = fault.New(fault.Retry, sourcev1.AuthenticationFailedReason, "log in with secret '%s/%s': %w", obj.Namespace, obj.Spec.SecretRef.Name, err)
			}
			return t, t.Expires, err
		})
	}
}

// azureBucket reads Azure Blob Storage with what a Secret holds, or as an identity of Entra.
func (c Config) azureBucket(ctx context.Context, obj *sourcev1.Bucket, proxy transport.Proxy) (bucket.Service, error) {
	config := bucket.AzureConfig{TokenConfig: bucket.TokenConfig{Endpoint: obj.Spec.Endpoint, Bucket: obj.Spec.BucketName}, Digests: c.Backend, Now: c.Now}
	if obj.Spec.SecretRef == nil {
		w, err := c.workload(ctx, login{obj.Namespace, obj.Spec.ServiceAccountName, obj.Spec.Provider, proxy})
		if err != nil {
			return nil, err
		}
		config.Token = func(ctx context.Context) (cloud.Token, error) { return w.azure(ctx, azureStorage) }
		return bucket.NewAzure(config)
	}
	data, err := c.secretData(ctx, obj.Namespace, obj.Spec.SecretRef)
	if err != nil {
		return nil, err
	}
	clouds, err := c.Accounts.Clouds.Through(proxy)
	if err != nil {
		return nil, err
	}
	if err := c.azureSecret(obj, data, clouds, &config); err != nil {
		return nil, err
	}
	return bucket.NewAzure(config)
}

// azureSecret takes the first credential that is there, in the order that Flux has.
func (c Config) azureSecret(obj *sourcev1.Bucket, data map[string][]byte, clouds *cloud.Client, config *bucket.AzureConfig) error {
	refuse := func(reason, format string, args ...any) error {
		return fault.New(fault.Retry, reason, "invalid '%s' secret data: "+format, append([]any{obj.Spec.SecretRef.Name}, args...)...)
	}
	has := func(name string) bool { return len(data[name]) > 0 }
	switch {
	case has("clientId") && has("tenantId") && !has("clientSecret") && has("clientCertificate") && has("clientCertificatePassword"):
		return refuse(sourcev1.AuthenticationFailedReason,
			"clientCertificatePassword: an encrypted clientCertificate is not read; keep it as PEM without a password, the Secret is its lock")
	case has("clientId") && has("tenantId") && (has("clientSecret") || has("clientCertificate")):
		app, err := azureApplication(data)
		if err != nil {
			return refuse(sourcev1.AuthenticationFailedReason, "%w", err)
		}
		var whole []string
		for _, name := range []string{"authorityHost", "tenantId", "clientId", "clientSecret", "clientCertificate", "clientCertificateSendChain"} {
			whole = append(whole, string(data[name]))
		}
		config.Token = c.keptToken(obj, whole, func(ctx context.Context) (cloud.Token, error) {
			return clouds.EntraApplicationToken(ctx, app, azureStorage, c.Backend)
		})
	case has("clientId"):
		return refuse(sourcev1.InvalidProviderConfigurationReason,
			"clientId alone asks for the identity of the machine, which no source may act as: add tenantId and clientSecret or clientCertificate, or name a ServiceAccount")
	case has("accountKey"):
		key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(data["accountKey"])))
		if err != nil {
			return refuse(sourcev1.AuthenticationFailedReason, "accountKey is not base64")
		}
		config.Key = key
	case has("sasKey"):
		config.SAS = cloud.Secret(strings.TrimSpace(string(data["sasKey"])))
	default:
		return refuse(sourcev1.AuthenticationFailedReason,
			"requires 'accountKey' or 'sasKey', or 'tenantId', 'clientId' and 'clientSecret' or 'clientCertificate'")
	}
	return nil
}

// azureApplication reads the application in a Secret.
func azureApplication(data map[string][]byte) (cloud.EntraApplication, error) {
	credential := cloud.EntraCredential{Secret: cloud.Secret(data["clientSecret"]), Certificate: data["clientCertificate"]}
	switch chain := string(data["clientCertificateSendChain"]); chain {
	case "1", "true":
		credential.SendChain = true
	case "", "0", "false":
	default:
		return cloud.EntraApplication{}, fmt.Errorf("clientCertificateSendChain %.16q: want true or false", chain)
	}
	return cloud.ParseEntraApplication(string(data["authorityHost"]), string(data["tenantId"]), string(data["clientId"]), credential)
}
