// SPDX-License-Identifier: Apache-2.0

package clusters

import (
	"errors"
	"fmt"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"sluice.dev/sluice/internal/transport"
)

// maxKubeconfig bounds a kubeconfig. One with a client certificate and a chain of authorities takes about 10 KiB.
const maxKubeconfig = 256 << 10

// parseKubeconfig reads what the current context of a kubeconfig says; nothing else in it is used. It reads no file and
// connects to nobody. Errors never quote the kubeconfig.
func parseKubeconfig(data []byte) (endpoint, error) {
	if len(data) > maxKubeconfig {
		return endpoint{}, fmt.Errorf("kubeconfig: %w: more than %d bytes", errTooLarge, maxKubeconfig)
	}
	file, err := clientcmd.Load(data)
	if err != nil {
		return endpoint{}, errors.New("it is no kubeconfig: neither YAML nor JSON of kind Config") // the parser's words may quote a secret
	}
	cluster, user, err := current(file)
	if err != nil {
		return endpoint{}, err
	}
	if err := checkFields(cluster, user); err != nil {
		return endpoint{}, err
	}
	return read(cluster, user)
}

// current returns the cluster and the user of the current context.
func current(file *api.Config) (*api.Cluster, *api.AuthInfo, error) {
	context := file.Contexts[file.CurrentContext]
	if context == nil {
		return nil, nil, errors.New(`"current-context" names no context of the kubeconfig`)
	}
	cluster, user := file.Clusters[context.Cluster], file.AuthInfos[context.AuthInfo]
	if cluster == nil || user == nil {
		return nil, nil, errors.New("the current context of the kubeconfig names a cluster or a user that is not in it")
	}
	return cluster, user, nil
}

// The reasons for which fields are refused.
const (
	becauseFile    = "a file would be one of the controller's; put the content into %q"
	becauseProgram = "the controller runs no programs; use token or client-certificate-data"
	becauseActs    = "whom to impersonate is for spec.serviceAccountName of the object to say; remove it"
)

// checkFields refuses by name what reaches beyond the kubeconfig (CVE-2022-24817, spec row K-40, isolation case E10).
func checkFields(c *api.Cluster, u *api.AuthInfo) error {
	for _, f := range []struct {
		field string
		set   bool
		why   string
	}{
		{"insecure-skip-tls-verify", c.InsecureSkipTLSVerify, "no cluster is talked to without checking its certificate; use certificate-authority-data"},
		{"certificate-authority", c.CertificateAuthority != "", fmt.Sprintf(becauseFile, "certificate-authority-data")},
		{"exec", u.Exec != nil, becauseProgram},
		{"auth-provider", u.AuthProvider != nil, becauseProgram},
		{"tokenFile", u.TokenFile != "", fmt.Sprintf(becauseFile, "token")},
		{"client-certificate", u.ClientCertificate != "", fmt.Sprintf(becauseFile, "client-certificate-data")},
		{"client-key", u.ClientKey != "", fmt.Sprintf(becauseFile, "client-key-data")},
		{"as", u.Impersonate != "", becauseActs},
		{"as-uid", u.ImpersonateUID != "", becauseActs},
		{"as-groups", len(u.ImpersonateGroups) > 0, becauseActs},
		{"as-user-extra", len(u.ImpersonateUserExtra) > 0, becauseActs},
	} {
		if f.set {
			return &refusal{f.field, f.why}
		}
	}
	return nil
}

// read takes over the fields that are left.
func read(c *api.Cluster, u *api.AuthInfo) (endpoint, error) {
	e := endpoint{
		tls: transport.TLS{
			CA: c.CertificateAuthorityData, ServerName: c.TLSServerName, Cert: u.ClientCertificateData, Key: u.ClientKeyData,
		},
		token: password(u.Token), uncompressed: c.DisableCompression,
	}
	if u.Username != "" || u.Password != "" {
		e.basic = &userInfo{name: u.Username, password: password(u.Password)}
	}
	var err error
	if e.server, err = parseServer("server", c.Server); err != nil {
		return endpoint{}, err
	}
	if e.proxy, err = parseProxy("proxy-url", c.ProxyURL); err != nil {
		return endpoint{}, err
	}
	switch {
	case e.token == "" && e.basic == nil && len(e.tls.Cert) == 0:
		return endpoint{}, errors.New("the user of the kubeconfig has neither token, client-certificate-data nor username")
	case e.token != "" && e.basic != nil:
		return endpoint{}, errors.New("the user of the kubeconfig has both token and username; keep one")
	}
	return e, checkTLS(e.tls)
}
