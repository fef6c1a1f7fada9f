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

func (o *Opener) awsCredential() (awsCredential, error) {
	var c awsCredential
	data, ok := o.creds.entries[awsEntry]
	if !ok {
		return c, errNoEntry(awsEntry)
	}
	if yaml.Unmarshal(data, &c) != nil || c.ID == "" || c.Secret == "" {
		return c, fmt.Errorf("entry %s: want YAML with aws_access_key_id and aws_secret_access_key", awsEntry)
	}
	return c, nil
}

// aws decrypts with AWS KMS.
func (o *Opener) aws(ctx context.Context, key sops.Key) ([]byte, error) {
	cred, err := o.awsCredential()
	if err != nil {
		return nil, err
	}
	arn := keyARN.FindStringSubmatch(key.Fields["arn"])
	if arn == nil {
		return nil, errors.New("no valid ARN of a KMS key")
	}
	partition, region := arn[1], arn[2]
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
	body := []byte(url.Values{"Action": {"AssumeRole"}, "Version": {"2011-06-15"}, "RoleArn": {role}, "RoleSessionName": {"sops@sluice"}}.Encode())
	req, err := request(ctx, awsURL("sts", partition, region), "application/x-www-form-urlencoded", body)
	if err != nil {
		return awsCredential{}, err
	}
	req.Header.Set("Accept", "text/xml")
	var answer struct {
		ID     string `xml:"AssumeRoleResult>Credentials>AccessKeyId"`
		Secret string `xml:"AssumeRoleResult>Credentials>SecretAccessKey"`
		Token  string `xml:"AssumeRoleResult>Credentials>SessionToken"`
	}
	if err := o.callAWS(req, body, awsSigner{cred: cred, region: region, service: "sts", digests: o.config.Backend}, &answer); err != nil {
		return awsCredential{}, err
	}
	if answer.ID == "" || answer.Secret == "" {
		return awsCredential{}, fmt.Errorf("%s answers without a credential", req.URL.Host)
	}
	return awsCredential(answer), nil
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
