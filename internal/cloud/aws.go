// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"context"
	"crypto"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"sluice.dev/sluice/internal/fips"
)

// AWSAudience is for whom a workload's token is that AWS exchanges.
const AWSAudience = "sts.amazonaws.com"

// RoleAnnotation of a ServiceAccount names its role.
const RoleAnnotation = "eks.amazonaws.com/role-arn"

const (
	// awsLifetime is how long a credential is asked for, the least that AWS gives.
	awsLifetime = 15 * time.Minute
	// eksLifetime is for how long an API server of EKS accepts a token (aws-iam-authenticator).
	eksLifetime = 15 * time.Minute
	// maxSession bounds the name of a session.
	maxSession = 64
)

// Region is a region of AWS. The zero Region is none.
type Region struct{ name, domain string }

var regionName = regexp.MustCompile(`^[a-z]{2,4}(-[a-z]{1,12}){1,3}-[0-9]{1,2}$`)

// parseRegion returns the region of a partition, which has a domain of its own.
func parseRegion(partition, name string) (Region, error) {
	domain := map[string]string{
		"aws": "amazonaws.com", "aws-us-gov": "amazonaws.com", "aws-cn": "amazonaws.com.cn", "aws-eusc": "amazonaws.eu",
		"aws-iso": "c2s.ic.gov", "aws-iso-b": "sc2s.sgov.gov", "aws-iso-e": "cloud.adc-e.uk", "aws-iso-f": "csp.hci.ic.gov",
	}[partition]
	switch {
	case domain == "":
		return Region{}, errors.New("its partition is none of AWS'")
	case !regionName.MatchString(name):
		return Region{}, errors.New("its region is not valid")
	}
	return Region{name: name, domain: domain}, nil
}

// ParseRegion reads the name of a region, whose partition it tells as well.
func ParseRegion(name string) (Region, error) {
	partition := "aws"
	for prefix, other := range map[string]string{
		"cn-": "aws-cn", "us-gov-": "aws-us-gov", "eusc-": "aws-eusc", "us-iso-": "aws-iso", "us-isob-": "aws-iso-b", "eu-isoe-": "aws-iso-e", "us-isof-": "aws-iso-f",
	} {
		if strings.HasPrefix(name, prefix) {
			partition = other
		}
	}
	return parseRegion(partition, name)
}

// Name returns the region's name.
func (r Region) Name() string { return r.name }

// Domain returns the domain of the region's partition, below which its services are.
func (r Region) Domain() string { return r.domain }

// url is where the region has a service.
func (r Region) url(service string) string {
	return "https://" + service + "." + r.name + "." + r.domain + "/"
}

// EKS is a cluster of Elastic Kubernetes Service. Only ParseEKS makes one.
type EKS struct {
	region Region
	name   string
}

var eksARN = newPattern(`arn:(aws[a-z-]*):eks:([a-z0-9-]+):[0-9]{12}:cluster/([0-9A-Za-z][A-Za-z0-9_-]*)`, 19, 32, 100)

// ParseEKS reads the ARN of a cluster.
func ParseEKS(arn string) (EKS, error) {
	parts := eksARN.find(arn)
	if parts == nil {
		return EKS{}, errors.New("no ARN of an EKS cluster: want arn:aws:eks:<region>:<account>:cluster/<name>")
	}
	region, err := parseRegion(parts[1], parts[2])
	if err != nil {
		return EKS{}, fmt.Errorf("no ARN of an EKS cluster: %w", err)
	}
	return EKS{region: region, name: parts[3]}, nil
}

// Region returns where the cluster is.
func (e EKS) Region() Region { return e.region }

// Role is a role of AWS IAM. Only ParseRole makes one.
type Role struct{ arn string }

var roleARN = newPattern(`arn:(aws[a-z-]*):iam::[0-9]{12}:role/([A-Za-z0-9+=,.@_/-]+)`, 19, 512)

// roleForm is how the ARN of a role looks.
const roleForm = "arn:aws:iam::<account>:role/<name>"

// ParseRole reads the role in the annotations of a ServiceAccount.
func ParseRole(annotations map[string]string) (Role, error) {
	arn, ok := annotations[RoleAnnotation]
	if !ok {
		return Role{}, missing(RoleAnnotation)
	}
	role, err := ParseRoleARN(arn)
	if err != nil {
		return Role{}, invalid(RoleAnnotation, roleForm)
	}
	return role, nil
}

// ParseRoleARN reads the ARN of a role.
func ParseRoleARN(arn string) (Role, error) {
	if !roleARN.matches(arn) {
		return Role{}, errors.New("no valid ARN of a role: want " + roleForm)
	}
	return Role{arn: arn}, nil
}

func missing(annotation string) error { return fmt.Errorf("it has no annotation %q", annotation) }

func invalid(annotation, want string) error {
	return fmt.Errorf("its annotation %q is not valid: want %s", annotation, want)
}

// AWSCredential is a credential of a session of a role.
type AWSCredential struct {
	id              string
	secret, session Secret
	// Expires is when AWS stops accepting it.
	Expires time.Time
}

// Values returns what a client of AWS signs with: the access key, its secret, and the session's token.
func (c AWSCredential) Values() (id string, secret, session Secret) { return c.id, c.secret, c.session }

// AssumeRole exchanges a workload's token for a credential of a role, whose trust policy must admit the workload. The workload's
// names stand in the name of the session as Flux writes it, for AWS' audit log.
func (c *Client) AssumeRole(ctx context.Context, r Region, role Role, namespace, account string, token Secret) (AWSCredential, error) {
	session, err := c.session(fmt.Sprintf("%s.%s.%s.fluxcd.io", account, namespace, r.name))
	if err != nil {
		return AWSCredential{}, err
	}
	return c.assume(ctx, r, url.Values{
		"Action": {"AssumeRoleWithWebIdentity"}, "RoleArn": {role.arn}, "RoleSessionName": {session}, "WebIdentityToken": {string(token)},
	}, func(*http.Request, string) error { return nil })
}

// SwitchRole exchanges a credential for one of a role, whose trust policy must admit the credential's owner.
func (c *Client) SwitchRole(ctx context.Context, cred AWSCredential, r Region, role Role, session string) (AWSCredential, error) {
	session, err := c.session(session)
	if err != nil {
		return AWSCredential{}, err
	}
	return c.assume(ctx, r, url.Values{"Action": {"AssumeRole"}, "RoleArn": {role.arn}, "RoleSessionName": {session}}, c.signer(cred, r, "sts").sign)
}

// assumed is the answer of STS to either action.
type assumed struct {
	Web  given `xml:"AssumeRoleWithWebIdentityResult>Credentials"`
	Role given `xml:"AssumeRoleResult>Credentials"`
}

type given struct {
	ID      string    `xml:"AccessKeyId"`
	Secret  string    `xml:"SecretAccessKey"`
	Session string    `xml:"SessionToken"`
	Expires time.Time `xml:"Expiration"`
}

// assume asks STS for a credential of a role.
func (c *Client) assume(ctx context.Context, r Region, action url.Values, sign func(req *http.Request, body string) error) (AWSCredential, error) {
	action.Set("Version", "2011-06-15")
	action.Set("DurationSeconds", strconv.Itoa(int(awsLifetime/time.Second)))
	req, err := form(ctx, r.url("sts"), action)
	if err != nil {
		return AWSCredential{}, err
	}
	if err := sign(req, action.Encode()); err != nil {
		return AWSCredential{}, err
	}
	var answer assumed
	if err := c.call(req, xml.Unmarshal, &answer); err != nil {
		return AWSCredential{}, err
	}
	g := answer.Web
	if g == (given{}) {
		g = answer.Role
	}
	if g.ID == "" || g.Secret == "" || g.Session == "" || !g.Expires.After(c.now()) {
		return AWSCredential{}, fmt.Errorf("%s answers without a credential that is good", req.URL.Host)
	}
	return AWSCredential{id: g.ID, secret: Secret(g.Secret), session: Secret(g.Session), Expires: g.Expires}, nil
}

// session shortens the name of a session, with a digest of the whole so that no two share one.
func (c *Client) session(name string) (string, error) {
	if len(name) <= maxSession {
		return name, nil
	}
	sum, err := fips.Sum(c.digests, crypto.SHA256, []byte(name))
	if err != nil {
		return "", err
	}
	digest := hex.EncodeToString(sum[:8])
	return name[:maxSession-len(digest)-1] + "." + digest, nil
}

// LocateEKS asks where a cluster is. The role needs eks:DescribeCluster.
func (c *Client) LocateEKS(ctx context.Context, cred AWSCredential, cluster EKS) (Location, error) {
	req, err := request(ctx, http.MethodGet, cluster.region.url("eks")+"clusters/"+cluster.name, "", "")
	if err != nil {
		return Location{}, err
	}
	if err := c.signer(cred, cluster.region, "eks").sign(req, ""); err != nil {
		return Location{}, err
	}
	var answer struct {
		Cluster struct {
			Endpoint  string `json:"endpoint"`
			Authority struct {
				Data []byte `json:"data"`
			} `json:"certificateAuthority"`
		} `json:"cluster"`
	}
	if err := c.call(req, json.Unmarshal, &answer); err != nil {
		return Location{}, err
	}
	return located(req.URL.Host, answer.Cluster.Endpoint, answer.Cluster.Authority.Data)
}

// located checks what a cloud says of a cluster. One that is being created has neither yet.
func located(host, server string, ca []byte) (Location, error) {
	if server == "" || len(ca) == 0 {
		return Location{}, fmt.Errorf("%s knows no address and certificate of the cluster yet", host)
	}
	return Location{Server: server, CA: ca}, nil
}

// EKSToken makes the token with which a session of a role speaks to a cluster: an address at which the API server's webhook asks
// AWS who it is. It calls nobody.
func (c *Client) EKSToken(ctx context.Context, cred AWSCredential, cluster EKS) (Token, error) {
	req, err := request(ctx, http.MethodGet, cluster.region.url("sts")+"?Action=GetCallerIdentity&Version=2011-06-15", "", "")
	if err != nil {
		return Token{}, err
	}
	req.Header.Set("X-K8s-Aws-Id", cluster.name) // binds the token to the cluster
	s := c.signer(cred, cluster.region, "sts")
	address, err := s.presign(req, eksLifetime)
	if err != nil {
		return Token{}, err
	}
	expires := s.now.Add(eksLifetime)
	if cred.Expires.Before(expires) {
		expires = cred.Expires
	}
	return Token{Value: Secret("k8s-aws-v1." + base64.RawURLEncoding.EncodeToString([]byte(address))), Expires: expires}, nil
}

func (c *Client) signer(cred AWSCredential, r Region, service string) signer {
	return signer{cred: cred, region: r.name, service: service, digests: c.digests, now: c.now()}
}
