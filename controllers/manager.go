// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"reflect"
	"runtime/debug"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/impersonation/rbac"
	"sluice.dev/sluice/internal/build"
	"sluice.dev/sluice/policy"
)

// program is the manager's name in the User-Agent and in statements.
const program = "sluice-manager"

// Run runs the selected controllers until ctx ends, and returns after they have stopped. Logs go to out.
func Run(ctx context.Context, c Config, kube *rest.Config, out io.Writer) error {
	return run(ctx, c, kube, out, nil)
}

// RunWithDeciderUnsafe is Run with another Decider in place of the policy engine, which then only says what tenants are granted.
// It is there for what policy costs to be measured; hack/arch knows who alone may name it.
func RunWithDeciderUnsafe(ctx context.Context, c Config, kube *rest.Config, out io.Writer, decider policy.Decider) error {
	return run(ctx, c, kube, out, decider)
}

// garbagePercent is by how much the heap grows until garbage is collected, where the environment says nothing (GOGC). Rules, schemas
// and types are most of a small heap and never garbage, and with Go's 100 percent they are looked through some thirty times while a
// hundred Kustomizations are installed.
const garbagePercent = 150

// run asks the policy engine where decider is nil.
func run(ctx context.Context, c Config, kube *rest.Config, out io.Writer, decider policy.Decider) error {
	if err := c.Validate(); err != nil {
		return err
	}
	log, err := newLogger(c.Log, out)
	if err != nil {
		return err
	}
	ctrl.SetLogger(log)
	if _, said := os.LookupEnv("GOGC"); !said {
		debug.SetGCPercent(garbagePercent)
	}
	if kube, err = paced(ctx, kube, c.Kube); err != nil {
		return err
	}
	selected := Select(c.Controllers)
	m, err := newManager(c, kube, log, selected)
	if err != nil {
		return err
	}
	p, err := assemble(ctx, c, m, log)
	if err != nil {
		return err
	}
	defer p.close(log)
	if decider != nil {
		p.decider = decider
	}
	for _, d := range selected {
		if err := d.register(ctx, p); err != nil {
			return fmt.Errorf("controller %s: %w", d.Name, err)
		}
	}
	log.Info("starting", "version", build.Read().Version, "controllers", c.Controllers, "fips", p.backend.Module().Status)
	return m.Start(ctx)
}

func newManager(c Config, kube *rest.Config, log logr.Logger, selected []Descriptor) (ctrl.Manager, error) {
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), sourcev1.AddToScheme(scheme)); err != nil {
		return nil, err
	}
	for _, d := range selected {
		if err := d.AddToScheme(scheme); err != nil {
			return nil, err
		}
	}
	kube = rest.CopyConfig(kube)
	kube.UserAgent = build.Read().UserAgent(program)
	kube.WarningHandler = rest.NoWarnings{}
	selector, err := labels.Parse(c.WatchLabelSelector)
	if err != nil {
		return nil, err
	}
	options := ctrl.Options{
		Scheme: scheme, Logger: log,
		Metrics:                 metricsserver.Options{BindAddress: c.MetricsAddr},
		HealthProbeBindAddress:  c.HealthAddr,
		LeaderElection:          c.Leader.Enabled,
		LeaderElectionID:        leaseName(c, selected),
		LeaderElectionNamespace: c.RuntimeNamespace, LeaderElectionReleaseOnCancel: c.Leader.ReleaseOnCancel,
		LeaseDuration: &c.Leader.LeaseDuration, RenewDeadline: &c.Leader.RenewDeadline, RetryPeriod: &c.Leader.RetryPeriod,
		// Managed fields of Flux objects are nobody's business here, and half of their size.
		Cache: cache.Options{DefaultTransform: cache.TransformStripManagedFields(), ByObject: shard(selected, selector)},
		// What tenants keep to themselves is read when needed and not kept.
		Client: client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.Secret{}, &corev1.ConfigMap{}, &corev1.Namespace{}}}},
	}
	if !c.WatchAllNamespaces {
		options.Cache.DefaultNamespaces = map[string]cache.Config{c.RuntimeNamespace: {}}
	}
	m, err := ctrl.NewManager(kube, options)
	if err != nil {
		return nil, fmt.Errorf("set up the manager: %w", err)
	}
	return m, errors.Join(m.AddHealthzCheck("ping", healthz.Ping), m.AddReadyzCheck("caches", func(r *http.Request) error {
		ctx, cancel := context.WithTimeout(r.Context(), time.Second)
		defer cancel()
		if !m.GetCache().WaitForCacheSync(ctx) {
			return errors.New("caches are not filled yet")
		}
		return nil
	}))
}

// shard limits the kinds of the controllers to the objects of this manager's shard.
func shard(selected []Descriptor, selector labels.Selector) map[client.Object]cache.ByObject {
	if selector.Empty() {
		return nil
	}
	out := map[client.Object]cache.ByObject{}
	seen := map[reflect.Type]bool{}
	for _, d := range selected {
		for _, kind := range d.kinds {
			if t := reflect.TypeOf(kind); !seen[t] {
				seen[t] = true
				out[kind] = cache.ByObject{Label: selector}
			}
		}
	}
	return out
}

// leaseName is Flux's for a single controller; several in one process share one, and each shard has its own.
func leaseName(c Config, selected []Descriptor) string {
	name := program
	if len(selected) == 1 {
		name = selected[0].Component
	}
	return rbac.LeaseName(name, c.WatchLabelSelector)
}

func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return program
	}
	return name
}
