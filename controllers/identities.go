// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"time"

	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"sluice.dev/sluice/controllers/source"
	"sluice.dev/sluice/impersonation"
	"sluice.dev/sluice/impersonation/rbac"
	"sluice.dev/sluice/impersonation/tokens"
	"sluice.dev/sluice/internal/cloud"
)

// accounts is what lets sources log in to clouds.
func (p *parts) accounts(agent string) (source.Accounts, error) {
	minter, err := tokens.New(tokens.Config{
		Manager: p.manager.GetConfig(), Scheme: p.manager.GetScheme(), Role: rbac.IdentityRole, Metrics: metrics.Registry,
	})
	if err != nil {
		return source.Accounts{}, err
	}
	clouds, err := cloud.New(cloud.Config{Digests: p.backend, UserAgent: agent})
	if err != nil {
		return source.Accounts{}, err
	}
	return source.Accounts{
		Tokens: minter, Reader: p.manager.GetAPIReader(), Lockdown: p.lockdown(), Clouds: clouds,
		Enabled: p.config.Features.Enabled(gateWorkloadIdentity), Default: p.config.DefaultServiceAccount,
		Kept: source.NewTokenCache(p.config.TokenCache.MaxSize, p.config.TokenCache.MaxDuration, time.Now),
	}, nil
}

// lockdown says who may act as what.
func (p *parts) lockdown() impersonation.Lockdown {
	return impersonation.Lockdown{
		PlatformNamespaces: p.config.platformNamespaces(), PlatformServiceAccount: impersonation.DefaultPlatformServiceAccount,
		ControllerServiceAccounts: components(), DefaultServiceAccount: p.config.DefaultServiceAccount,
	}
}
