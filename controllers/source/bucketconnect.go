// SPDX-License-Identifier: Apache-2.0

package source

import (
	"context"
	"strings"
	"time"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/internal/bucket"
	"sluice.dev/sluice/internal/cloud"
	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/internal/transport"
)

// bucketConnect reads credentials and authorities.
func (c Config) bucketConnect(ctx context.Context, obj *sourcev1.Bucket, r *bucketRun) error {
	config := bucket.Config{Bucket: obj.Spec.BucketName, Prefix: obj.Spec.Prefix, UserAgent: c.UserAgent}
	var err error
	if config.Proxy, err = c.proxy(ctx, obj.Namespace, obj.Spec.ProxySecretRef); err != nil {
		return err
	}
	if config.TLS, err = c.bucketTLS(ctx, obj.Namespace, obj.Spec.CertSecretRef); err != nil {
		return err
	}
	if config.Service, err = c.bucketService(ctx, obj, r, config.Proxy); err != nil {
		return err
	}
	if r.client, err = bucket.New(config); err != nil {
		return err
	}
	r.hold, err = bucket.OpenHold(c.holdOf(obj), strings.Join([]string{string(obj.UID), obj.Spec.Provider, r.origin.URL}, " "), c.Backend)
	return err
}

// bucketTLS is whom to trust beside the system's authorities, and the client's certificate (spec row S-20).
func (c Config) bucketTLS(ctx context.Context, namespace string, ref *meta.LocalObjectReference) (transport.TLS, error) {
	data, err := c.secretData(ctx, namespace, ref)
	return transport.TLS{CA: data["ca.crt"], SystemRoots: true, Cert: data["tls.crt"], Key: data["tls.key"]}, err
}

// bucketService returns the dialect of the provider, with the credential (spec rows S-70 and S-71).
func (c Config) bucketService(ctx context.Context, obj *sourcev1.Bucket, r *bucketRun, proxy transport.Proxy) (bucket.Service, error) {
	switch obj.Spec.Provider {
	case sourcev1.BucketProviderAmazon:
		return c.awsBucket(ctx, obj, proxy)
	case sourcev1.BucketProviderGoogle:
		return c.googleBucket(ctx, obj, proxy)
	case sourcev1.BucketProviderAzure:
		return c.azureBucket(ctx, obj, proxy)
	}
	switch sts := obj.Spec.STS; {
	case obj.Spec.SecretRef != nil:
		return c.keyBucket(ctx, obj)
	case sts == nil:
		return bucket.NewS3(c.s3(obj)) // as nobody
	case sts.Provider == sourcev1.STSProviderLDAP:
		return c.ldapBucket(ctx, obj, r, proxy)
	default:
		return nil, fault.New(fault.Invalid, sourcev1.InvalidSTSConfigurationReason,
			"STS provider '%s' is not supported for '%s' bucket provider", sts.Provider, sourcev1.BucketProviderGeneric)
	}
}

// s3 is where a store is that speaks the API of S3.
func (c Config) s3(obj *sourcev1.Bucket) bucket.S3Config {
	return bucket.S3Config{
		Endpoint: obj.Spec.Endpoint, Insecure: obj.Spec.Insecure, Bucket: obj.Spec.BucketName, Region: obj.Spec.Region,
		Digests: c.Backend, Now: c.Now,
	}
}

// keyBucket reads a store with the access key of a Secret.
func (c Config) keyBucket(ctx context.Context, obj *sourcev1.Bucket) (bucket.Service, error) {
	data, err := c.secretData(ctx, obj.Namespace, obj.Spec.SecretRef)
	if err != nil {
		return nil, err
	}
	id, secret := string(data["accesskey"]), string(data["secretkey"])
	if id == "" || secret == "" {
		return nil, fault.New(fault.Retry, sourcev1.AuthenticationFailedReason,
			"invalid '%s' secret data: required fields 'accesskey' and 'secretkey'", obj.Spec.SecretRef.Name)
	}
	config := c.s3(obj)
	config.Credential = func(context.Context) (cloud.AWSCredential, error) {
		return cloud.NewAWSCredential(id, cloud.Secret(secret), ""), nil
	}
	return bucket.NewS3(config)
}

// ldapBucket reads a store with an access key that its token service gives to who is in a directory. The key is kept for as long as it
// is good, unless the store refuses it before.
func (c Config) ldapBucket(ctx context.Context, obj *sourcev1.Bucket, r *bucketRun, proxy transport.Proxy) (bucket.Service, error) {
	sts := obj.Spec.STS
	data, err := c.secretData(ctx, obj.Namespace, sts.SecretRef)
	if err != nil {
		return nil, err
	}
	name, password := string(data["username"]), string(data["password"])
	if sts.SecretRef != nil && (name == "" || password == "") {
		return nil, fault.New(fault.Retry, sourcev1.AuthenticationFailedReason,
			"invalid '%s' secret data for '%s' STS provider: required fields username, password", sts.SecretRef.Name, sts.Provider)
	}
	service := bucket.LDAP{Endpoint: sts.Endpoint, Username: name, Password: cloud.Secret(password), Proxy: proxy, UserAgent: c.UserAgent}
	if service.TLS, err = c.bucketTLS(ctx, obj.Namespace, sts.CertSecretRef); err != nil {
		return nil, err
	}
	key, err := c.ldapKey(obj.Namespace, service)
	if err != nil {
		return nil, err
	}
	cred, err := kept(ctx, c.Accounts.Kept, key, func() (cloud.AWSCredential, time.Time, error) { return service.Credential(ctx) })
	if err != nil {
		return nil, err
	}
	r.refused = func() { c.Accounts.Kept.forget(key) }
	config := c.s3(obj)
	config.Credential = func(context.Context) (cloud.AWSCredential, error) { return cred, nil }
	return bucket.NewS3(config)
}

// ldapKey names an access key by everything that it was got with, and for whose namespace.
func (c Config) ldapKey(namespace string, l bucket.LDAP) (string, error) {
	return c.credentialKey("ldap", append(wayThere(l.TLS, l.Proxy), namespace, l.Endpoint, l.Username, string(l.Password))...)
}
