// SPDX-License-Identifier: Apache-2.0

package clusters

import (
	"errors"
	"fmt"
	"strings"

	"github.com/fluxcd/pkg/apis/meta"

	"sluice.dev/sluice/internal/transport"
)

const (
	// maxCA bounds the authorities of a cluster.
	maxCA = 256 << 10
	// maxAudiences and maxAudience bound what a token is asked for.
	maxAudiences = 16
	maxAudience  = 1 << 10
)

// parseProvider reads the data of a ConfigMap that describes a cluster (Flux RFC-0010). Of the providers it knows generic: a
// cluster that trusts this one's issuer of ServiceAccount tokens. The key cluster is for the others.
func parseProvider(data map[string]string) (endpoint, error) {
	switch provider := data[meta.KubeConfigKeyProvider]; provider {
	case "generic":
	case "":
		return endpoint{}, fmt.Errorf("%q is missing: set it to generic", meta.KubeConfigKeyProvider)
	case "aws", "azure", "gcp":
		return endpoint{}, &refusal{
			meta.KubeConfigKeyProvider,
			fmt.Sprintf("%s is not supported by this version; use generic, or a kubeconfig through secretRef", provider),
		}
	default:
		return endpoint{}, &refusal{meta.KubeConfigKeyProvider, "it is none of aws, azure, gcp and generic"}
	}
	address := data[meta.KubeConfigKeyAddress]
	server, err := parseServer(meta.KubeConfigKeyAddress, address)
	if err != nil {
		return endpoint{}, err
	}
	audiences, err := parseAudiences(data[meta.KubeConfigKeyAudiences], address)
	if err != nil {
		return endpoint{}, err
	}
	authorities := data[meta.KubeConfigKeyCACert]
	if len(authorities) > maxCA {
		return endpoint{}, fmt.Errorf("%q: %w: more than %d bytes", meta.KubeConfigKeyCACert, errTooLarge, maxCA)
	}
	e := endpoint{
		server: server, tls: transport.TLS{CA: []byte(authorities)},
		account: &account{name: data[meta.KubeConfigKeyServiceAccountName], audiences: audiences},
	}
	return e, checkTLS(e.tls)
}

// parseAudiences reads one audience a line; without any it is the address.
func parseAudiences(text, address string) ([]string, error) {
	var out []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			out = append(out, line)
		}
		if len(line) > maxAudience || len(out) > maxAudiences {
			return nil, errors.New("\"audiences\" has too many or too long lines")
		}
	}
	if len(out) == 0 {
		out = []string{address}
	}
	return out, nil
}
