// SPDX-License-Identifier: Apache-2.0

package unwrap

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"sluice.dev/sluice/controllers/kustomize/decrypt/sops"
	"sluice.dev/sluice/internal/transport"
)

// keyARN is the name of a KMS key or alias; its parts are the partition and the region.
var keyARN = regexp.MustCompile(`^arn:(aws[a-z-]*):kms:([a-z0-9-]{1,32}):[0-9]{12}:(?:key|alias)/[A-Za-z0-9/_-]{1,256}$`)

// awsCredential is the entry of the Secret.
type awsCredential struct {
	ID     string `json:"aws_access_key_id"`
	Secret string `json:"aws_secret_access_key"`
	Token  string `json:"aws_session_token"`
}

// awsCredential returns the entry of the Secret, else what the account is given in exchange for its token.
func (o *Opener) awsCredential(ctx context.Context, partition, region string) (awsCredential, error) {
	var c awsCredential
	data, ok := o.creds.entries[awsEntry]
	if !ok {
		return o.awsWebIdentity(ctx, partition, region)
	}
	if yaml.Unmarshal(data, &c) != nil || c.ID == "" || c.Secret == "" {
		return c, fmt.Errorf("entry %s: want YAML with aws_access_key_id and aws_secret_access_key", awsEntry)
	}
	return c, nil
}

// aws decrypts with AWS KMS.
func (o *Opener) aws(ctx context.Context, key sops.Key) ([]byte, error) {
	arn := keyARN.FindStringSubmatch(key.Fields["arn"])
	if arn == nil {
		return nil, errors.New("no valid ARN of a KMS key")
	}
	partition, region := arn[1], arn[2]
	cred, err := o.awsCredential(ctx, partition, region)
	if err != nil {
		return nil, err
	}
	blob, err := base64.StdEncoding.DecodeString(key.Encrypted)
	if err != nil {
		return nil, errors.New("the encrypted data key is no base64")
	}
	question := map[string]any{"KeyId": key.Fields["arn"], "CiphertextBlob": blob}
	if len(key.Context) > 0 {
		question["EncryptionContext"] = key.Context
	}
	body, err := json.Marshal(question)
	if err != nil {
		return nil, err
	}
	if role := key.Fields["role"]; role != "" {
		if cred, err = o.assumeRole(ctx, cred, role, partition, region); err != nil {
			return nil, fmt.Errorf("role %s: %w", sops.Printable(role), err)
		}
	}
	req, err := request(ctx, awsURL("kms", partition, region), "application/x-amz-json-1.1", body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("X-Amz-Target", "TrentService.Decrypt")
	var answer struct{ Plaintext string }
	if err := o.callAWS(req, body, awsSigner{cred: cred, region: region, service: "kms", digests: o.config.Backend}, &answer); err != nil {
		return nil, err
	}
	return decoded(answer.Plaintext)
}

// roleARN is the name of a role.
var roleARN = regexp.MustCompile(`^arn:aws[a-z-]*:iam::[0-9]{12}:role/[A-Za-z0-9+=,.@_/-]{1,512}$`)

// assumeRole exchanges a credential for one of a role, which the role's owner must permit.
func (o *Opener) assumeRole(ctx context.Context, cred awsCredential, role, partition, region string) (awsCredential, error) {
	if !roleARN.MatchString(role) {
		return awsCredential{}, errors.New("no valid ARN of a role")
	}
	req, body, err := stsRequest(ctx, partition, region, url.Values{"Action": {"AssumeRole"}, "RoleArn": {role}, "RoleSessionName": {"sops@sluice"}})
	if err != nil {
		return awsCredential{}, err
	}
	var answer stsAnswer
	if err := o.callAWS(req, body, awsSigner{cred: cred, region: region, service: "sts", digests: o.config.Backend}, &answer); err != nil {
		return awsCredential{}, err
	}
	return answer.Role.checked(req.URL.Host)
}

// The annotation with the role of a ServiceAccount, and whom its token is for.
const (
	awsRoleAnnotation = "eks.amazonaws.com/role-arn"
	awsAudience       = "sts.amazonaws.com"
)

// awsWebIdentity exchanges a token of the account for a credential of its role, once for a region and run. The request needs no
// signature.
func (o *Opener) awsWebIdentity(ctx context.Context, partition, region string) (awsCredential, error) {
	if cred, ok := o.awsGiven[partition+region]; ok {
		return cred, nil
	}
	account, err := o.creds.cloud(awsEntry)
	if err != nil {
		return awsCredential{}, err
	}
	role, err := annotation(ctx, account, awsRoleAnnotation, awsEntry, roleARN)
	if err != nil {
		return awsCredential{}, err
	}
	var cred awsCredential
	err = exchange(ctx, account, awsAudience, func(token string, _ time.Time) error {
		req, _, err := stsRequest(ctx, partition, region, url.Values{
			"Action": {"AssumeRoleWithWebIdentity"}, "RoleArn": {role}, "RoleSessionName": {"sops@sluice"}, "WebIdentityToken": {token},
		})
		if err != nil {
			return err
		}
		var answer stsAnswer
		if err := o.call(req, transport.TLS{}, &answer); err != nil {
			return err
		}
		cred, err = answer.Web.checked(req.URL.Host)
		return err
	})
	if err == nil {
		o.awsGiven[partition+region] = cred
	}
	return cred, err
}

// stsRequest makes a request to STS, which answers in XML.
func stsRequest(ctx context.Context, partition, region string, form url.Values) (*http.Request, []byte, error) {
	form.Set("Version", "2011-06-15")
	body := []byte(form.Encode())
	req, err := request(ctx, awsURL("sts", partition, region), "application/x-www-form-urlencoded", body)
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Accept", "text/xml")
	return req, body, nil
}

// stsAnswer is that of either action.
type stsAnswer struct {
	Role stsCredential `xml:"AssumeRoleResult>Credentials"`
	Web  stsCredential `xml:"AssumeRoleWithWebIdentityResult>Credentials"`
}

type stsCredential struct {
	ID     string `xml:"AccessKeyId"`
	Secret string `xml:"SecretAccessKey"`
	Token  string `xml:"SessionToken"`
}

func (c stsCredential) checked(host string) (awsCredential, error) {
	if c.ID == "" || c.Secret == "" {
		return awsCredential{}, fmt.Errorf("%s answers without a credential", host)
	}
	return awsCredential(c), nil
}

func (o *Opener) callAWS(req *http.Request, body []byte, signer awsSigner, answer any) error {
	if err := signer.sign(req, body, o.config.Now()); err != nil {
		return err
	}
	return o.call(req, transport.TLS{}, answer)
}

// awsURL is where a region has a service.
func awsURL(service, partition, region string) string {
	suffix := "amazonaws.com"
	if strings.HasPrefix(partition, "aws-cn") {
		suffix += ".cn"
	}
	return "https://" + service + "." + region + "." + suffix + "/"
}
