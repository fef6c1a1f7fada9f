// SPDX-License-Identifier: Apache-2.0

package source

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"time"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/internal/cloud"
	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/internal/git"
	"sluice.dev/sluice/internal/github"
	"sluice.dev/sluice/internal/transport"
)

// azureDevOps is the application of Azure DevOps at Entra, whatever the organization.
const azureDevOps = "499b84ac-1321-427f-aa17-267ca6975798"

// gitAuth returns as whom a repository is read, by its provider (spec rows S-31 to S-34).
func (c Config) gitAuth(ctx context.Context, obj *sourcev1.GitRepository, proxy transport.Proxy) (git.Auth, error) {
	data, err := c.secretData(ctx, obj.Namespace, obj.Spec.SecretRef)
	if err != nil {
		return git.Auth{}, err
	}
	switch obj.Spec.Provider {
	case "", sourcev1.GitProviderGeneric:
		if _, ok := data[githubAppID]; ok {
			return git.Auth{}, fault.New(fault.Retry, sourcev1.InvalidProviderConfigurationReason,
				"secret '%s/%s' has the data of a GitHub App, but spec.provider is not set to github", obj.Namespace, obj.Spec.SecretRef.Name)
		}
		return git.AuthFromSecret(obj.Spec.URL, data, c.FIPS)
	case sourcev1.GitProviderAzure:
		return c.azureAuth(ctx, obj, data, proxy)
	case sourcev1.GitProviderAWS:
		return c.codeCommitAuth(ctx, obj, data, proxy)
	case sourcev1.GitProviderGitHub:
		return c.githubAuth(ctx, obj, data, proxy)
	default: // which the API server does not let in
		return git.Auth{}, unsupported("spec.provider: " + obj.Spec.Provider)
	}
}

// azureAuth returns a token for Azure DevOps. It goes to that service alone: whoever could name another host would get a token
// that is good there.
func (c Config) azureAuth(ctx context.Context, obj *sourcev1.GitRepository, data map[string][]byte, proxy transport.Proxy) (git.Auth, error) {
	if err := providerHost(obj, "dev.azure.com", ".visualstudio.com"); err != nil {
		return git.Auth{}, err
	}
	auth, w, err := c.gitWorkload(ctx, obj, data, proxy)
	if err != nil {
		return git.Auth{}, err
	}
	token, err := w.azure(ctx, azureDevOps)
	auth.BearerToken = string(token.Value)
	return auth, err
}

// gitWorkload returns what a Secret says of the connection, and the identity that logs in to the provider.
func (c Config) gitWorkload(ctx context.Context, obj *sourcev1.GitRepository, data map[string][]byte, proxy transport.Proxy) (git.Auth, workload, error) {
	auth, err := git.AuthFromSecret(obj.Spec.URL, onlyTLS(data), c.FIPS)
	if err != nil {
		return git.Auth{}, workload{}, err
	}
	w, err := c.workload(ctx, login{obj.Namespace, obj.Spec.ServiceAccountName, obj.Spec.Provider, proxy})
	return auth, w, err
}

// codeCommitAuth returns the signature that is the password of a repository of AWS CodeCommit.
func (c Config) codeCommitAuth(ctx context.Context, obj *sourcev1.GitRepository, data map[string][]byte, proxy transport.Proxy) (git.Auth, error) {
	repository, err := cloud.ParseCodeCommit(obj.Spec.URL)
	if err != nil {
		return git.Auth{}, fault.New(fault.Invalid, sourcev1.InvalidProviderConfigurationReason, "spec.url is %w", err)
	}
	auth, w, err := c.gitWorkload(ctx, obj, data, proxy)
	if err != nil {
		return git.Auth{}, err
	}
	cred, err := w.aws(ctx, repository.Region())
	if err != nil {
		return git.Auth{}, err
	}
	user, password, err := c.Accounts.Clouds.CodeCommitLogin(cred, repository)
	auth.Username, auth.Password = user, string(password)
	return auth, err
}

// The entries of a Secret with a GitHub App (spec row S-33).
const (
	githubAppID           = "githubAppID"
	githubAppOwner        = "githubAppInstallationOwner"
	githubAppInstallation = "githubAppInstallationID"
	githubAppKey          = "githubAppPrivateKey"
	githubAppBaseURL      = "githubAppBaseURL"
)

// githubUser is the user name that goes with a token of an installation.
const githubUser = "x-access-token"

// githubAuth returns a token of an installation of the GitHub App in the Secret. It goes to the repositories of that GitHub alone.
func (c Config) githubAuth(ctx context.Context, obj *sourcev1.GitRepository, data map[string][]byte, proxy transport.Proxy) (git.Auth, error) {
	if obj.Spec.SecretRef == nil {
		return git.Auth{}, fault.New(fault.Invalid, sourcev1.InvalidProviderConfigurationReason,
			"spec.provider github needs spec.secretRef, a Secret with a GitHub App")
	}
	invalid := func(format string, args ...any) error {
		return fault.New(fault.Retry, sourcev1.InvalidProviderConfigurationReason,
			"secret '%s/%s': "+format, append([]any{obj.Namespace, obj.Spec.SecretRef.Name}, args...)...)
	}
	auth, err := git.AuthFromSecret(obj.Spec.URL, onlyTLS(data), c.FIPS)
	if err != nil {
		return git.Auth{}, err
	}
	text := func(key string) string { return strings.TrimSpace(string(data[key])) }
	app := github.App{
		ID: text(githubAppID), Key: data[githubAppKey], Owner: text(githubAppOwner), Installation: text(githubAppInstallation),
		BaseURL: text(githubAppBaseURL), TLS: auth.TLS, Proxy: proxy,
	}
	if err := app.Validate(); err != nil {
		return git.Auth{}, invalid("%w", err)
	}
	if u, err := url.Parse(obj.Spec.URL); err != nil || u.Scheme != "https" || !app.Serves(u.Host) {
		return git.Auth{}, fault.New(fault.Invalid, sourcev1.InvalidProviderConfigurationReason,
			"spec.url is no https address of the GitHub whose App the secret holds: its tokens go nowhere else")
	}
	key, err := c.githubKey(obj.Namespace, app)
	if err != nil {
		return git.Auth{}, err
	}
	token, err := kept(ctx, c.Accounts.Kept, key, func() (github.Token, time.Time, error) {
		t, err := github.Client{Backend: c.Backend, Now: c.Now, UserAgent: c.UserAgent}.Token(ctx, app)
		return t, t.Expires, err
	})
	if err != nil {
		return git.Auth{}, fault.New(fault.Retry, sourcev1.AuthenticationFailedReason, "secret '%s/%s': GitHub App: %w", obj.Namespace, obj.Spec.SecretRef.Name, err)
	}
	auth.Username, auth.Password = githubUser, token.Value
	return auth, nil
}

// githubKey names a token by everything that it was got with, and for whose namespace.
func (c Config) githubKey(namespace string, app github.App) (string, error) {
	return c.credentialKey("github", append(wayThere(app.TLS, app.Proxy), namespace, app.ID, string(app.Key), app.Owner, app.Installation, app.BaseURL)...)
}

// providerHost refuses an address that is none of a provider's: one of its hosts or, after a dot, of its domains, by https.
func providerHost(obj *sourcev1.GitRepository, hosts ...string) error {
	u, err := url.Parse(obj.Spec.URL)
	good := err == nil && u.Scheme == "https" && u.User == nil && u.Port() == "" && slices.ContainsFunc(hosts, func(h string) bool {
		host := strings.ToLower(u.Hostname())
		return host == h || strings.HasPrefix(h, ".") && strings.HasSuffix(host, h)
	})
	if good {
		return nil
	}
	return fault.New(fault.Invalid, sourcev1.InvalidProviderConfigurationReason,
		"spec.url is no https address of provider %q (%s): its credential goes nowhere else", obj.Spec.Provider, strings.Join(hosts, ", *"))
}

// onlyTLS returns what a Secret says about whom to trust and as whom to connect, without its credentials.
func onlyTLS(data map[string][]byte) map[string][]byte {
	out := map[string][]byte{}
	for _, key := range []string{"ca.crt", "tls.crt", "tls.key", "caFile", "certFile", "keyFile"} {
		if value, ok := data[key]; ok {
			out[key] = value
		}
	}
	return out
}
