// SPDX-License-Identifier: Apache-2.0

package source

import (
	"context"
	"strings"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/internal/bucket"
	"sluice.dev/sluice/internal/cloud"
	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/internal/transport"
)

// bucketConnect reads credentials and authorities.
func (c Config) bucketConnect(ctx context.Context, obj *sourcev1.Bucket, r *bucketRun) error {
	service, err := c.bucketService(ctx, obj)
	if err != nil {
		return err
	}
	config := bucket.Config{Bucket: obj.Spec.BucketName, Prefix: obj.Spec.Prefix, Service: service, UserAgent: c.UserAgent}
	if config.TLS, err = c.bucketTLS(ctx, obj.Namespace, obj.Spec.CertSecretRef); err != nil {
		return err
	}
	if config.Proxy, err = c.proxy(ctx, obj.Namespace, obj.Spec.ProxySecretRef); err != nil {
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
func (c Config) bucketService(ctx context.Context, obj *sourcev1.Bucket) (bucket.Service, error) {
	switch spec := obj.Spec; {
	case spec.Provider != "" && spec.Provider != sourcev1.BucketProviderGeneric:
		return nil, unsupported("spec.provider: " + spec.Provider)
	case spec.ServiceAccountName != "":
		return nil, unsupported("spec.serviceAccountName")
	case spec.STS != nil:
		return nil, unsupported("spec.sts")
	}
	config := bucket.S3Config{
		Endpoint: obj.Spec.Endpoint, Insecure: obj.Spec.Insecure, Bucket: obj.Spec.BucketName, Region: obj.Spec.Region,
		Digests: c.Backend, Now: c.Now,
	}
	if obj.Spec.SecretRef != nil {
		cred, err := c.accessKey(ctx, obj.Namespace, obj.Spec.SecretRef)
		if err != nil {
			return nil, err
		}
		config.Credential = func(context.Context) (cloud.AWSCredential, error) { return cred, nil }
	}
	return bucket.NewS3(config)
}

// accessKey reads a Secret with an access key.
func (c Config) accessKey(ctx context.Context, namespace string, ref *meta.LocalObjectReference) (cloud.AWSCredential, error) {
	data, err := c.secretData(ctx, namespace, ref)
	if err != nil {
		return cloud.AWSCredential{}, err
	}
	id, secret := string(data["accesskey"]), string(data["secretkey"])
	if id == "" || secret == "" {
		return cloud.AWSCredential{}, fault.New(fault.Retry, sourcev1.AuthenticationFailedReason,
			"invalid '%s' secret data: required fields 'accesskey' and 'secretkey'", ref.Name)
	}
	return cloud.NewAWSCredential(id, cloud.Secret(secret), ""), nil
}
