// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// EntraAudience is for whom a workload's token is that Microsoft Entra exchanges.
const EntraAudience = "api://AzureADTokenExchange"

// Annotations of a ServiceAccount that name an application of Entra, or a managed identity, and its tenant.
const (
	ClientAnnotation = "azure.workload.identity/client-id"
	TenantAnnotation = "azure.workload.identity/tenant-id"
)

// AzureCloud is one of Microsoft's clouds.
type AzureCloud int

// The clouds of Microsoft.
const (
	AzurePublic AzureCloud = iota
	AzureGovernment
	AzureChina
)

// hosts returns where tokens come from, and where resources are.
func (a AzureCloud) hosts() (login, resources string) {
	switch a {
	case AzureGovernment:
		return "https://login.microsoftonline.us/", "https://management.usgovcloudapi.net/"
	case AzureChina:
		return "https://login.chinacloudapi.cn/", "https://management.chinacloudapi.cn/"
	default:
		return "https://login.microsoftonline.com/", "https://management.azure.com/"
	}
}

// The scopes of Entra's tokens: what an API server of AKS is, and the right to ask where it is.
const (
	aksScope   = "6dae42f8-4368-4678-94ff-3960e28e3630/.default"
	aksVersion = "2024-09-01"
)

// clientAssertion is the kind of proof that a signed token is (RFC 7523 §2.2).
const clientAssertion = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// EntraIdentity is as whom a workload acts at Azure. Only ParseEntraIdentity makes one.
type EntraIdentity struct{ tenant, client string }

var guid = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// ParseEntraIdentity reads the annotations of a ServiceAccount.
func ParseEntraIdentity(annotations map[string]string) (EntraIdentity, error) {
	for _, name := range []string{TenantAnnotation, ClientAnnotation} {
		value, ok := annotations[name]
		switch {
		case !ok:
			return EntraIdentity{}, missing(name)
		case !guid.MatchString(value):
			return EntraIdentity{}, invalid(name, "a GUID")
		}
	}
	return EntraIdentity{tenant: annotations[TenantAnnotation], client: annotations[ClientAnnotation]}, nil
}

// AKSToken exchanges a workload's token for one for the API servers of Azure Kubernetes Service.
func (c *Client) AKSToken(ctx context.Context, id EntraIdentity, token Secret) (Token, error) {
	return c.entra(ctx, id, aksScope, token)
}

// EntraToken exchanges a workload's token for one for a resource: the address of a service, or the id of its application.
func (c *Client) EntraToken(ctx context.Context, id EntraIdentity, resource string, token Secret) (Token, error) {
	return c.entra(ctx, id, strings.TrimSuffix(resource, "/")+"/.default", token)
}

// In returns a client that asks Microsoft's other clouds.
func (c *Client) In(azure AzureCloud) *Client {
	other := *c
	other.azure = azure
	return &other
}

// entra exchanges a workload's token for one with a scope (RFC 7523 §2.2).
func (c *Client) entra(ctx context.Context, id EntraIdentity, scope string, token Secret) (Token, error) {
	login, _ := c.azure.hosts()
	return c.exchange(ctx, login+id.tenant+"/oauth2/v2.0/token", url.Values{
		"grant_type": {"client_credentials"}, "client_id": {id.client}, "scope": {scope},
		"client_assertion_type": {clientAssertion}, "client_assertion": {string(token)},
	})
}

// AKS is a cluster of Azure Kubernetes Service. Only ParseAKS makes one.
type AKS struct{ id string }

var aksID = newPattern(`(?i)/subscriptions/([0-9a-f-]{36})/resourceGroups/([\w.()-]+)`+
	`/providers/Microsoft\.ContainerService/managedClusters/([\w-]+)`, 0, 90, 63)

// ParseAKS reads the id of a cluster.
func ParseAKS(id string) (AKS, error) {
	parts := aksID.find(id)
	if parts == nil || !guid.MatchString(parts[1]) || strings.Trim(parts[2], ".") == "" {
		return AKS{}, errors.New("no id of an AKS cluster: want /subscriptions/<id>/resourceGroups/<group>" +
			"/providers/Microsoft.ContainerService/managedClusters/<name>")
	}
	return AKS{id: id}, nil
}

// Kubeconfigs asks for the kubeconfigs of a cluster, one for each of its addresses. The identity needs
// Microsoft.ContainerService/managedClusters/listClusterUserCredential/action. They are as foreign as any other input.
func (c *Client) Kubeconfigs(ctx context.Context, id EntraIdentity, token Secret, cluster AKS) ([][]byte, error) {
	_, resources := c.azure.hosts()
	good, err := c.entra(ctx, id, resources+".default", token)
	if err != nil {
		return nil, err
	}
	address := strings.TrimSuffix(resources, "/") + cluster.id + "/listClusterUserCredential?api-version=" + aksVersion
	req, err := request(ctx, http.MethodPost, address, "", "")
	if err != nil {
		return nil, err
	}
	bearer(req, good)
	var answer struct {
		Kubeconfigs []struct {
			Value []byte `json:"value"`
		} `json:"kubeconfigs"`
	}
	if err := c.call(req, json.Unmarshal, &answer); err != nil {
		return nil, err
	}
	var out [][]byte
	for _, k := range answer.Kubeconfigs {
		out = append(out, k.Value)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s knows no address of the cluster yet", req.URL.Host)
	}
	return out, nil
}
