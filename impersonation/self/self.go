// SPDX-License-Identifier: Apache-2.0

package self

import (
	"context"
	"errors"
	"fmt"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	authenticationv1client "k8s.io/client-go/kubernetes/typed/authentication/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"sluice.dev/sluice/impersonation"
	"sluice.dev/sluice/impersonation/internal/seal"
)

// Client returns a client that acts as the user of config and changes nothing. It asks the API server who that is, which
// takes one request. Scheme knows the typed objects that the client is used with.
func Client(ctx context.Context, config *rest.Config, scheme *runtime.Scheme) (impersonation.Client, error) {
	if config == nil || scheme == nil {
		return impersonation.Client{}, errors.New("client of the caller: configuration and scheme are required")
	}
	http, err := rest.HTTPClientFor(config)
	if err != nil {
		return impersonation.Client{}, fmt.Errorf("client of the caller: %w", err)
	}
	reviews, err := authenticationv1client.NewForConfigAndClient(config, http)
	if err != nil {
		return impersonation.Client{}, fmt.Errorf("client of the caller: %w", err)
	}
	review, err := reviews.SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		return impersonation.Client{}, fmt.Errorf("ask the API server who the user of the kubeconfig is: %w", err)
	}
	mapper, err := apiutil.NewDynamicRESTMapper(config, http)
	if err != nil {
		return impersonation.Client{}, fmt.Errorf("client of the caller: %w", err)
	}
	kube, err := client.NewWithWatch(config, client.Options{HTTPClient: http, Scheme: scheme, Mapper: mapper})
	if err != nil {
		return impersonation.Client{}, fmt.Errorf("client of the caller: %w", err)
	}
	who := impersonation.Caller(seal.Key{}, review.Status.UserInfo.Username)
	return impersonation.NewClient(seal.Key{}, who, rehearsal{Client: client.NewDryRunClient(kube), kube: kube}, mapper), nil
}

// rehearsal is a client whose every write is a dry run.
type rehearsal struct {
	client.Client
	kube client.WithWatch
}

// Watch implements client.WithWatch.
func (r rehearsal) Watch(ctx context.Context, list client.ObjectList, opts ...client.ListOption) (watch.Interface, error) {
	return r.kube.Watch(ctx, list, opts...)
}
