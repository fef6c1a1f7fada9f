// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/version"

	"sluice.dev/sluice/distro/cli/internal/cluster"
)

// minKubernetes is the oldest version that Flux 2.9 accepts.
const minKubernetes = "1.33.0"

// checkOptions are the flags of check.
type checkOptions struct {
	pre               bool
	components, extra []string
	pollInterval      time.Duration
}

func (p *program) checkCommand() *cobra.Command {
	options := checkOptions{}
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check the cluster and what is installed on it",
		Long: "Check the version of Kubernetes, the definitions of the Flux kinds, the controllers of the namespace, waiting for them to be ready, " +
			"and what the user may do. Nothing is changed, and nothing but the API server is asked. With --pre, check what an installation needs.",
		Example: "  # Before an installation\n  sluice check --pre\n\n  # After it, for at most a minute\n  sluice check --timeout 1m",
		Args:    noArguments,
	}
	flags := cmd.Flags()
	flags.BoolVar(&options.pre, "pre", false, "Check only what an installation needs")
	flags.StringSliceVar(&options.components, "components", nil, "Controllers that must be there; by default those that are found are checked")
	flags.StringSliceVar(&options.extra, "components-extra", nil, "Further controllers that must be there")
	flags.DurationVar(&options.pollInterval, "poll-interval", 0, "Has no effect: readiness is watched")
	_ = flags.MarkHidden("poll-interval") // it was defined on the line above
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx, cancel := p.bounded(cmd)
		defer cancel()
		s, err := p.connect(cmd)
		if err != nil {
			return err
		}
		c := checker{program: p, session: s, options: options}
		return c.run(ctx)
	}
	return cmd
}

// checker runs checks. A check prints what it found; a failed one makes the command fail after all have run.
type checker struct {
	*program
	session
	options checkOptions
	failed  bool
}

func (c *checker) run(ctx context.Context) error {
	c.log.Action("checking the cluster")
	if err := c.kubernetes(ctx); err != nil {
		return err // nothing else can be asked
	}
	checks := []func(context.Context) error{c.rights, c.definitions, c.controllers}
	if c.options.pre {
		checks = []func(context.Context) error{c.installRights}
	}
	for _, check := range checks {
		if err := check(ctx); err != nil {
			c.fail("%s", err)
		}
	}
	if c.failed {
		c.log.Failure("not all checks passed")
		return errReported
	}
	c.log.Success("all checks passed")
	return nil
}

func (c *checker) fail(format string, args ...any) {
	c.failed = true
	c.log.Failure(format, args...)
}

func (c *checker) kubernetes(ctx context.Context) error {
	info, err := c.Version(ctx)
	if err != nil {
		return err
	}
	if supported(info.GitVersion) {
		c.log.Success("Kubernetes %s, at least %s is needed", info.GitVersion, minKubernetes)
		return nil
	}
	c.fail("Kubernetes %s: at least %s is needed", info.GitVersion, minKubernetes)
	return nil
}

// supported reports whether a version of Kubernetes is supported. Suffixes of vendors do not count.
func supported(gitVersion string) bool {
	v, err := version.ParseGeneric(gitVersion)
	return err == nil && v.AtLeast(version.MustParseGeneric(minKubernetes))
}

// right is something a user may be allowed to do.
type right struct {
	verb      string
	resource  schema.GroupVersionResource
	namespace string
}

func (r right) String() string {
	where := ""
	if r.namespace != "" {
		where = fmt.Sprintf(" in namespace %q", r.namespace)
	}
	return r.verb + " " + r.resource.GroupResource().String() + where
}

// installRights checks that the user may create what an installation consists of.
func (c *checker) installRights(ctx context.Context) error {
	needed := []right{
		{verb: "create", resource: schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}},
		{verb: "create", resource: definitionsResource()},
		{verb: "create", resource: rbacv1.SchemeGroupVersion.WithResource("clusterroles")},
		{verb: "create", resource: rbacv1.SchemeGroupVersion.WithResource("clusterrolebindings")},
		{verb: "create", resource: appsv1.SchemeGroupVersion.WithResource("deployments"), namespace: c.namespace},
	}
	return c.ask(ctx, needed, c.fail)
}

// rights says what the user may do with Flux objects. Who may only look can still check, so a missing right is no failure.
func (c *checker) rights(ctx context.Context) error {
	var wanted []right
	for _, kind := range cluster.Kinds() {
		wanted = append(wanted, right{verb: "list", resource: kind.Resource, namespace: c.namespace})
		if !kind.Passive {
			wanted = append(wanted, right{verb: "patch", resource: kind.Resource, namespace: c.namespace})
		}
	}
	return c.ask(ctx, wanted, c.log.Warning)
}

// ask prints which rights the user has not, by missing.
func (c *checker) ask(ctx context.Context, rights []right, missing func(string, ...any)) error {
	refused := 0
	for _, r := range rights {
		allowed, err := c.may(ctx, r)
		if err != nil {
			return fmt.Errorf("ask what the user may do: %w", err)
		}
		if !allowed {
			refused++
			missing("the user may not %s", r)
		}
	}
	if refused == 0 {
		c.log.Success("the user has the %d rights that were asked for", len(rights))
	}
	return nil
}

func (c *checker) may(ctx context.Context, r right) (bool, error) {
	review := &authorizationv1.SelfSubjectAccessReview{
		TypeMeta: metav1.TypeMeta{APIVersion: authorizationv1.SchemeGroupVersion.String(), Kind: "SelfSubjectAccessReview"},
		Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{
			Namespace: r.namespace, Verb: r.verb, Group: r.resource.Group, Version: r.resource.Version, Resource: r.resource.Resource,
		}},
	}
	var answer authorizationv1.SelfSubjectAccessReview
	err := c.Ask(ctx, authorizationv1.SchemeGroupVersion.WithResource("selfsubjectaccessreviews"), review, &answer)
	return answer.Status.Allowed, err
}

func definitionsResource() schema.GroupVersionResource {
	return apiextensionsv1.SchemeGroupVersion.WithResource("customresourcedefinitions")
}

// definitions checks that the cluster serves every kind in the version the commands use.
func (c *checker) definitions(ctx context.Context) error {
	c.log.Action("checking the definitions of Flux kinds")
	for _, kind := range cluster.Kinds() {
		name := kind.Resource.GroupResource().String()
		var definition apiextensionsv1.CustomResourceDefinition
		err := c.Read(ctx, definitionsResource(), name, &definition)
		switch {
		case apierrors.IsNotFound(err):
			c.fail("%s is not installed", name)
		case err != nil:
			return err
		default:
			c.judgeDefinition(definition, kind.Resource.Version)
		}
	}
	return nil
}

func (c *checker) judgeDefinition(definition apiextensionsv1.CustomResourceDefinition, wanted string) {
	served := slices.ContainsFunc(definition.Spec.Versions, func(v apiextensionsv1.CustomResourceDefinitionVersion) bool {
		return v.Name == wanted && v.Served
	})
	established := slices.ContainsFunc(definition.Status.Conditions, func(condition apiextensionsv1.CustomResourceDefinitionCondition) bool {
		return condition.Type == apiextensionsv1.Established && condition.Status == apiextensionsv1.ConditionTrue
	})
	switch {
	case !served:
		c.fail("%s does not serve version %s", definition.Name, wanted)
	case !established:
		c.fail("%s/%s is not established", definition.Name, wanted)
	default:
		c.log.Success("%s/%s", definition.Name, wanted)
	}
}

// controllers checks that the Deployments of the installation are ready. A manager that runs outside the cluster has none,
// and cannot be seen from here.
func (c *checker) controllers(ctx context.Context) error {
	c.log.Action("checking the controllers in namespace %q", c.namespace)
	deployments, err := c.deployments(ctx)
	if err != nil {
		return err
	}
	required := slices.Concat(c.options.components, c.options.extra)
	for _, name := range required {
		if !slices.ContainsFunc(deployments, func(d appsv1.Deployment) bool { return d.Name == name }) {
			c.fail("there is no Deployment %q labelled %s", name, partOf)
		}
	}
	if len(deployments) == 0 && len(required) == 0 {
		c.log.Warning("no Deployment is labelled %s: a manager outside the cluster cannot be seen from here", partOf)
	}
	for _, deployment := range deployments {
		if err := c.awaitDeployment(ctx, deployment); err != nil {
			c.fail("%s", err)
			continue
		}
		for _, container := range deployment.Spec.Template.Spec.Containers {
			c.log.Success("Deployment %q is ready: %s", deployment.Name, container.Image)
		}
	}
	return nil
}

func (c *checker) awaitDeployment(ctx context.Context, deployment appsv1.Deployment) error {
	missing := notReady(deployment)
	if missing == "" {
		return nil
	}
	c.log.Waiting("Deployment %q: %s", deployment.Name, missing)
	err := c.Follow(ctx, appsv1.SchemeGroupVersion.WithResource("deployments"), deployment.Namespace, cluster.Named(deployment.Name),
		func(change cluster.Change) (bool, error) {
			if change.Deleted {
				return false, fmt.Errorf("controller %q was deleted", deployment.Name)
			}
			var now appsv1.Deployment
			if err := cluster.Decode(change.Object, &now); err != nil {
				return false, err
			}
			missing = notReady(now)
			return missing == "", nil
		})
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("controller %q is not ready: %s", deployment.Name, missing)
	}
	return err
}

// notReady says what a Deployment still lacks, empty when nothing.
func notReady(d appsv1.Deployment) string {
	wanted := int32(1)
	if d.Spec.Replicas != nil {
		wanted = *d.Spec.Replicas
	}
	var problems []string
	if d.Status.ObservedGeneration < d.Generation {
		problems = append(problems, "its change has not been seen yet")
	}
	if d.Status.UpdatedReplicas < wanted {
		problems = append(problems, fmt.Sprintf("%d of %d replicas updated", d.Status.UpdatedReplicas, wanted))
	}
	if d.Status.AvailableReplicas < wanted {
		problems = append(problems, fmt.Sprintf("%d of %d replicas available", d.Status.AvailableReplicas, wanted))
	}
	return strings.Join(problems, ", ")
}
