// SPDX-License-Identifier: Apache-2.0

package clusters

import (
	"cmp"
	"context"
	"errors"
	"net/url"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/clientcmd"

	"sluice.dev/sluice/internal/cloud"
)

// vendor is a cluster of a cloud, and a workload's identity there (spec row K-40). Tokens given to it are the workload's.
type vendor interface {
	// name is the cloud's.
	name() string
	// as returns the vendor for a workload, whose annotations name the identity.
	as(workload corev1.ServiceAccount) (vendor, error)
	// audience is for whom the workload's tokens are.
	audience(ctx context.Context, clouds *cloud.Client) (string, error)
	// locate asks where the cluster is. Of several addresses it is the one that is given.
	locate(ctx context.Context, clouds *cloud.Client, address string, token cloud.Secret) (cloud.Location, error)
	// token returns one that the cluster accepts.
	token(ctx context.Context, clouds *cloud.Client, token cloud.Secret) (cloud.Token, error)
}

// parseVendor reads the cloud's name of a cluster. Where all is known about the cluster, only AWS has to be told: its tokens are
// for one cluster each.
func parseVendor(provider, cluster string, known bool) (vendor, error) {
	known = known && cluster == ""
	switch provider {
	case "aws":
		eks, err := cloud.ParseEKS(cluster)
		return eksVendor{cluster: eks}, err
	case "gcp":
		if known {
			return gkeVendor{}, nil
		}
		gke, err := cloud.ParseGKE(cluster)
		return gkeVendor{cluster: gke}, err
	default:
		if known {
			return aksVendor{}, nil
		}
		aks, err := cloud.ParseAKS(cluster)
		return aksVendor{cluster: aks}, err
	}
}

type eksVendor struct {
	cluster            cloud.EKS
	role               cloud.Role
	namespace, account string
}

func (eksVendor) name() string { return "aws" }

func (eksVendor) audience(context.Context, *cloud.Client) (string, error) {
	return cloud.AWSAudience, nil
}

func (v eksVendor) as(workload corev1.ServiceAccount) (vendor, error) {
	var err error
	v.namespace, v.account = workload.Namespace, workload.Name
	v.role, err = cloud.ParseRole(workload.Annotations)
	return v, err
}

func (v eksVendor) assume(ctx context.Context, clouds *cloud.Client, token cloud.Secret) (cloud.AWSCredential, error) {
	return clouds.AssumeRole(ctx, v.cluster.Region(), v.role, v.namespace, v.account, token)
}

func (v eksVendor) locate(ctx context.Context, clouds *cloud.Client, _ string, token cloud.Secret) (cloud.Location, error) {
	cred, err := v.assume(ctx, clouds, token)
	if err != nil {
		return cloud.Location{}, err
	}
	return clouds.LocateEKS(ctx, cred, v.cluster)
}

func (v eksVendor) token(ctx context.Context, clouds *cloud.Client, token cloud.Secret) (cloud.Token, error) {
	cred, err := v.assume(ctx, clouds, token)
	if err != nil {
		return cloud.Token{}, err
	}
	return clouds.EKSToken(ctx, cred, v.cluster)
}

type gkeVendor struct {
	cluster  cloud.GKE
	identity cloud.GoogleIdentity
}

func (gkeVendor) name() string { return "gcp" }

func (v gkeVendor) audience(ctx context.Context, clouds *cloud.Client) (string, error) {
	return clouds.GoogleAudience(ctx, v.identity)
}

func (v gkeVendor) as(workload corev1.ServiceAccount) (vendor, error) {
	var err error
	v.identity, err = cloud.ParseGoogleIdentity(workload.Annotations)
	return v, err
}

func (v gkeVendor) locate(ctx context.Context, clouds *cloud.Client, _ string, token cloud.Secret) (cloud.Location, error) {
	good, err := v.token(ctx, clouds, token)
	if err != nil {
		return cloud.Location{}, err
	}
	return clouds.LocateGKE(ctx, good, v.cluster)
}

func (v gkeVendor) token(ctx context.Context, clouds *cloud.Client, token cloud.Secret) (cloud.Token, error) {
	return clouds.GoogleToken(ctx, v.identity, token)
}

type aksVendor struct {
	cluster  cloud.AKS
	identity cloud.EntraIdentity
}

func (aksVendor) name() string { return "azure" }

func (aksVendor) audience(context.Context, *cloud.Client) (string, error) {
	return cloud.EntraAudience, nil
}

func (v aksVendor) as(workload corev1.ServiceAccount) (vendor, error) {
	var err error
	v.identity, err = cloud.ParseEntraIdentity(workload.Annotations)
	return v, err
}

func (v aksVendor) token(ctx context.Context, clouds *cloud.Client, token cloud.Secret) (cloud.Token, error) {
	return clouds.AKSToken(ctx, v.identity, token)
}

// locate looks for the kubeconfig with the address; without an address it is the first.
func (v aksVendor) locate(ctx context.Context, clouds *cloud.Client, address string, token cloud.Secret) (cloud.Location, error) {
	kubeconfigs, err := clouds.Kubeconfigs(ctx, v.identity, token, v.cluster)
	if err != nil {
		return cloud.Location{}, err
	}
	for _, data := range kubeconfigs {
		found, err := aksLocation(data)
		if err != nil {
			return cloud.Location{}, err
		}
		if address == "" || sameServer(address, found.Server) {
			return found, nil
		}
	}
	return cloud.Location{}, errors.New("the cluster has no such address; remove \"address\" or correct it")
}

// aksLocation reads address and authorities in a kubeconfig of AKS. Its credentials are not used: with those of a cluster without Entra
// everybody would act as the same administrator.
func aksLocation(data []byte) (cloud.Location, error) {
	file, err := clientcmd.Load(data)
	if err != nil {
		return cloud.Location{}, errors.New("the cluster's kubeconfig cannot be read") // the parser's words may quote a secret
	}
	cluster, user, err := current(file)
	switch {
	case err != nil:
		return cloud.Location{}, err
	case user.Exec == nil && user.AuthProvider == nil:
		return cloud.Location{}, errors.New("the cluster does not know users of Microsoft Entra ID; enable that integration")
	case cluster.Server == "" || len(cluster.CertificateAuthorityData) == 0:
		return cloud.Location{}, errors.New("the cluster's kubeconfig has no address and certificate")
	}
	return cloud.Location{Server: cluster.Server, CA: cluster.CertificateAuthorityData}, nil
}

// sameServer compares addresses by host and port.
func sameServer(a, b string) bool {
	host := func(text string) string {
		u, err := url.Parse(text)
		if err != nil {
			return ""
		}
		return strings.ToLower(u.Hostname()) + ":" + cmp.Or(u.Port(), "443")
	}
	return host(a) == host(b)
}
