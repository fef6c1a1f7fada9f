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

// parseProvider reads the data of a ConfigMap that describes a cluster (Flux RFC-0010). Provider generic is a cluster that trusts this
// one's issuer of ServiceAccount tokens, and whose address is their audience unless the ConfigMap says otherwise. The others are
// clouds, which know their clusters by the key cluster.
func parseProvider(data map[string]string) (endpoint, error) {
	e, err := parseCommon(data)
	if err != nil {
		return endpoint{}, err
	}
	switch provider := data[meta.KubeConfigKeyProvider]; provider {
	case "generic":
		if e.server == "" {
			return endpoint{}, fmt.Errorf("%q is missing", meta.KubeConfigKeyAddress)
		}
		if len(e.account.audiences) == 0 {
			e.account.audiences = []string{data[meta.KubeConfigKeyAddress]}
		}
		return e, nil
	case "aws", "azure", "gcp":
		e.vendor, err = parseVendor(provider, data[meta.KubeConfigKeyCluster], e.server != "" && len(e.tls.CA) > 0)
		if err != nil {
			return endpoint{}, fmt.Errorf("%q: %w", meta.KubeConfigKeyCluster, err)
		}
		return e, nil
	case "":
		return endpoint{}, fmt.Errorf("%q is missing: set it to aws, azure, gcp or generic", meta.KubeConfigKeyProvider)
	default:
		return endpoint{}, &refusal{meta.KubeConfigKeyProvider, "it is none of aws, azure, gcp and generic"}
	}
}

// parseCommon reads what all providers understand. An address that is missing stays empty.
func parseCommon(data map[string]string) (endpoint, error) {
	authorities := data[meta.KubeConfigKeyCACert]
	if len(authorities) > maxCA {
		return endpoint{}, fmt.Errorf("%q: %w: more than %d bytes", meta.KubeConfigKeyCACert, errTooLarge, maxCA)
	}
	audiences, err := parseAudiences(data[meta.KubeConfigKeyAudiences])
	if err != nil {
		return endpoint{}, err
	}
	e := endpoint{
		tls:     transport.TLS{CA: []byte(authorities)},
		account: &account{name: data[meta.KubeConfigKeyServiceAccountName], audiences: audiences},
	}
	if address := data[meta.KubeConfigKeyAddress]; address != "" {
		if e.server, err = parseServer(meta.KubeConfigKeyAddress, address); err != nil {
			return endpoint{}, err
		}
	}
	return e, checkTLS(e.tls)
}

// parseAudiences reads one audience a line. There may be none.
func parseAudiences(text string) ([]string, error) {
	var out []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			out = append(out, line)
		}
		if len(line) > maxAudience || len(out) > maxAudiences {
			return nil, errors.New("\"audiences\" has too many or too long lines")
		}
	}
	return out, nil
}
