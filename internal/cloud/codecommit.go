// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"encoding/hex"
	"errors"
	"net/url"
	"strings"
)

// CodeCommit is a repository of AWS CodeCommit. Only ParseCodeCommit makes one.
type CodeCommit struct {
	region     Region
	host, path string
}

var codeCommitHost = newPattern(`git-codecommit(-fips)?\.([a-z0-9-]+)\.([a-z0-9.-]+)`, 0, 32, 64)

// ParseCodeCommit reads the address of a repository.
func ParseCodeCommit(address string) (CodeCommit, error) {
	fail := errors.New("no address of a CodeCommit repository: want https://git-codecommit.<region>.amazonaws.com/v1/repos/<name>")
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || !strings.HasPrefix(u.Path, "/v1/repos/") {
		return CodeCommit{}, fail
	}
	parts := codeCommitHost.find(u.Host)
	if parts == nil {
		return CodeCommit{}, fail
	}
	region, err := ParseRegion(parts[2])
	if err != nil || parts[3] != region.domain {
		return CodeCommit{}, fail
	}
	return CodeCommit{region: region, host: u.Host, path: u.EscapedPath()}, nil
}

// Region returns where the repository is.
func (r CodeCommit) Region() Region { return r.region }

// CodeCommitLogin makes the user and the password by which a session of a role reads a repository: a signature over the
// repository's address, which AWS accepts for a quarter of an hour. It calls nobody.
func (c *Client) CodeCommitLogin(cred AWSCredential, repository CodeCommit) (user string, password Secret, err error) {
	s := c.signer(cred, repository.region, "codecommit")
	canonical := strings.Join([]string{"GIT", repository.path, "", "host:" + repository.host, "", "host", ""}, "\n")
	digest, err := s.hash(canonical)
	if err != nil {
		return "", "", err
	}
	when := strings.TrimSuffix(s.time(), "Z") // which AWS wants signed without its zone, and sent with it
	signature, err := s.derive(strings.Join([]string{sigAlgorithm, when, s.scope(), digest}, "\n"))
	if err != nil {
		return "", "", err
	}
	user = cred.id
	if cred.session != "" {
		user += "%" + string(cred.session)
	}
	return user, Secret(when + "Z" + hex.EncodeToString(signature)), nil
}
