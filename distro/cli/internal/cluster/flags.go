// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Flux's environment variables and defaults.
const (
	// DefaultNamespace is where controllers run.
	DefaultNamespace       = "flux-system"
	namespaceVariable      = "FLUX_SYSTEM_NAMESPACE"
	followsContextVariable = "FLUX_NS_FOLLOWS_KUBE_CONTEXT"
	defaultTimeout         = 5 * time.Minute
	defaultQPS             = 50
	defaultBurst           = 300
)

// Flags are the flags of every command that talks to a cluster. Names and meaning are those of kubectl and flux.
type Flags struct {
	// Timeout bounds a command as a whole.
	Timeout time.Duration
	// Verbose says more about what is going on.
	Verbose bool

	overrides      clientcmd.ConfigOverrides
	kubeconfig     string
	namespace      string
	followsContext bool
	userExtra      []string
	qps            float32
	burst          int
	cacheDir       string
}

// Bind defines the flags. lookup is os.LookupEnv.
func (f *Flags) Bind(flags *pflag.FlagSet, lookup func(string) (string, bool)) {
	namespace, ok := lookup(namespaceVariable)
	if !ok || namespace == "" {
		namespace = DefaultNamespace
	}
	follows, _ := lookup(followsContextVariable)
	followsContext, _ := strconv.ParseBool(follows)

	names := clientcmd.RecommendedConfigOverrideFlags("")
	names.ContextOverrideFlags.Namespace.LongName = ""
	names.Timeout.LongName = ""
	names.AuthOverrideFlags.Username.LongName = ""
	names.AuthOverrideFlags.Password.LongName = ""
	names.ClusterOverrideFlags.APIServer.ShortName = ""
	clientcmd.BindOverrideFlags(&f.overrides, flags, names)
	flags.StringArrayVar(&f.userExtra, "as-user-extra", nil, "User extras to impersonate for the operation, as key=value; can be repeated")
	flags.StringVar(&f.kubeconfig, "kubeconfig", "", "Path to the kubeconfig file")
	flags.StringVarP(&f.namespace, "namespace", "n", namespace, "Namespace the command works in; default from "+namespaceVariable)
	flags.BoolVar(&f.followsContext, "ns-follows-kube-context", followsContext, "Use the namespace of the kubeconfig context when --namespace is not set")
	flags.DurationVar(&f.Timeout, "timeout", defaultTimeout, "Longest duration of the command; watching does not end by it")
	flags.BoolVar(&f.Verbose, "verbose", false, "Print what controllers report while waiting for them")
	flags.Float32Var(&f.qps, "kube-api-qps", defaultQPS, "Requests a second to the API server")
	flags.IntVar(&f.burst, "kube-api-burst", defaultBurst, "Burst of requests to the API server")
	// Scripts written for flux may set it. Nothing is cached here.
	flags.StringVar(&f.cacheDir, "cache-dir", "", "Has no effect")
	_ = flags.MarkHidden("cache-dir") // it was defined on the line above
}

// Namespace returns the namespace the command works in. Its name ends up in paths of requests and in other programs'
// arguments, so nothing but a DNS label passes (CVE-2022-36035).
func (f *Flags) Namespace(explicit bool) (string, error) {
	namespace := f.namespace
	if f.followsContext && !explicit {
		fromContext, _, err := f.loader().Namespace()
		if err != nil {
			return "", fmt.Errorf("read the namespace of the kubeconfig context: %w", err)
		}
		namespace = fromContext
	}
	if len(validation.IsDNS1123Label(namespace)) > 0 {
		return "", fmt.Errorf("%q is no name of a namespace (from --namespace, %s or the context): want at most 63 small letters, digits "+
			"and hyphens", namespace, namespaceVariable)
	}
	return namespace, nil
}

// Config returns how to connect, with the program's name for the server's log. Warnings go to warn.
func (f *Flags) Config(userAgent string, warn rest.WarningHandler) (*rest.Config, error) {
	extra := map[string][]string{}
	for _, pair := range f.userExtra {
		key, value, ok := strings.Cut(pair, "=")
		if !ok {
			return nil, fmt.Errorf("--as-user-extra %q is not key=value", pair)
		}
		extra[key] = append(extra[key], value)
	}
	if len(extra) > 0 {
		f.overrides.AuthInfo.ImpersonateUserExtra = extra
	}
	config, err := f.loader().ClientConfig()
	if clientcmd.IsEmptyConfig(err) {
		return nil, fmt.Errorf("no cluster to talk to: set KUBECONFIG or --kubeconfig")
	}
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig: %w", err)
	}
	config.UserAgent, config.WarningHandler, config.QPS, config.Burst = userAgent, warn, f.qps, f.burst
	return config, nil
}

func (f *Flags) loader() clientcmd.ClientConfig {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = f.kubeconfig
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &f.overrides)
}
