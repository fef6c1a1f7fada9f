// SPDX-License-Identifier: Apache-2.0

package unwrap

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"sigs.k8s.io/yaml"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"

	"sluice.dev/sluice/internal/transport"
)

// The entries of the ConfigMap of --sops-vault-configmap: Flux's, and Sluice's own, which adds authorities.
const (
	vaultsEntry   = "config.yaml"
	vaultsCAEntry = "ca.crt"
)

// maxInstances bounds the list, maxLogins how many tokens are kept.
const (
	maxInstances = 1000
	maxLogins    = 1000
)

// Vaults are the instances of Vault and OpenBao that the platform trusts with tokens of ServiceAccounts. The zero value is none.
type Vaults struct {
	// CA adds authorities to the system's, in PEM.
	CA []byte
	// paths are where to log in, by address.
	paths map[string]string
}

// ParseVaults reads the data of the platform's ConfigMap.
func ParseVaults(data map[string]string) (Vaults, error) {
	text, ok := data[vaultsEntry]
	if !ok {
		return Vaults{}, fmt.Errorf("it has no entry %s", vaultsEntry)
	}
	var list kustomizev1.VaultConfig
	if err := yaml.UnmarshalStrict([]byte(text), &list); err != nil {
		return Vaults{}, fmt.Errorf("entry %s: want instances, each with address and loginPath: %w", vaultsEntry, err)
	}
	if len(list.Instances) > maxInstances {
		return Vaults{}, fmt.Errorf("entry %s: more than %d instances", vaultsEntry, maxInstances)
	}
	v := Vaults{CA: []byte(data[vaultsCAEntry]), paths: map[string]string{}}
	for i, instance := range list.Instances {
		if _, err := secureURL(instance.Address); err != nil {
			return Vaults{}, fmt.Errorf("entry %s: instances[%d].address: %w", vaultsEntry, i, err)
		}
		address, login := strings.TrimSuffix(instance.Address, "/"), strings.Trim(instance.LoginPath, "/")
		if !plainSegments(login) {
			return Vaults{}, fmt.Errorf("entry %s: instances[%d].loginPath: no valid path, such as auth/kubernetes/login", vaultsEntry, i)
		}
		if _, twice := v.paths[address]; twice {
			return Vaults{}, fmt.Errorf("entry %s: instances[%d].address: it is listed twice", vaultsEntry, i)
		}
		v.paths[address] = login
	}
	return v, nil
}

// Logins log ServiceAccounts in to the platform's instances of Vault, and keep the tokens they get there while these are good.
// They may be used by several goroutines at once.
type Logins struct {
	read  func(context.Context) (Vaults, error)
	mu    sync.Mutex
	given map[loginKey]given
}

// NewLogins returns logins at the instances that read tells, each time they are needed.
func NewLogins(read func(context.Context) (Vaults, error)) *Logins {
	return &Logins{read: read, given: map[loginKey]given{}}
}

// loginKey finds what an instance has given to a ServiceAccount.
type loginKey struct{ address, path, role string }

// given is a token of an instance.
type given struct {
	token string
	until time.Time
}

func (l *Logins) get(k loginKey, now time.Time) (string, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	g, ok := l.given[k]
	return g.token, ok && now.Before(g.until)
}

// keep keeps a token, and makes room for it.
func (l *Logins) keep(k loginKey, g given, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var first loginKey
	for k, g := range l.given {
		if !now.Before(g.until) {
			delete(l.given, k)
		} else if soonest, ok := l.given[first]; !ok || g.until.Before(soonest.until) {
			first = k
		}
	}
	if len(l.given) >= maxLogins {
		delete(l.given, first)
	}
	l.given[k] = g
}

// drop forgets a token that an instance no longer accepts.
func (l *Logins) drop(k loginKey, token string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.given[k].token == token {
		delete(l.given, k)
	}
}

// vaultSession is what a request to an instance takes.
type vaultSession struct {
	token string
	trust transport.TLS
	// drop forgets a token that was kept from an earlier login; nil for any other.
	drop func()
}

// vaultSession has the token of the Secret, else that of a login.
func (o *Opener) vaultSession(ctx context.Context, address string) (vaultSession, error) {
	if token := o.creds.text(vaultTokenEntry); token != "" {
		if only := o.creds.text(vaultAddressEntry); only != "" && strings.TrimSuffix(only, "/") != strings.TrimSuffix(address, "/") {
			return vaultSession{}, fmt.Errorf("the token is not sent there: entry %s of the decryption Secret names another address", vaultAddressEntry)
		}
		return vaultSession{token: token, trust: transport.TLS{CA: o.creds.entries[caEntry], SystemRoots: true}}, nil
	}
	login := o.creds.login
	switch {
	case login.Account == nil:
		return vaultSession{}, errNoEntry(vaultTokenEntry)
	case login.Vaults == nil:
		return vaultSession{}, fmt.Errorf("%w, and the platform lets no ServiceAccount log in (--sops-vault-configmap)", errNoEntry(vaultTokenEntry))
	}
	return o.vaultLogin(ctx, address)
}

// instances reads the platform's list once a run.
func (o *Opener) instances(ctx context.Context) (Vaults, error) {
	if o.vaults == nil {
		v, err := o.creds.login.Vaults.read(ctx)
		if err != nil {
			return Vaults{}, err
		}
		o.vaults = &v
	}
	return *o.vaults, nil
}

// vaultLogin logs the account in, or uses what an earlier login gave.
func (o *Opener) vaultLogin(ctx context.Context, address string) (vaultSession, error) {
	address = strings.TrimSuffix(address, "/")
	vaults, err := o.instances(ctx)
	if err != nil {
		return vaultSession{}, err
	}
	path, ok := vaults.paths[address]
	if !ok {
		return vaultSession{}, fmt.Errorf("%w, and no ServiceAccount may log in at this address: the platform has to list it in the ConfigMap of "+
			"--sops-vault-configmap", errNoEntry(vaultTokenEntry))
	}
	login := o.creds.login
	s := vaultSession{trust: transport.TLS{CA: vaults.CA, SystemRoots: true}}
	k := loginKey{address, path, role(login.Account)}
	if s.token, ok = login.Vaults.get(k, o.config.Now()); ok {
		s.drop = func() { login.Vaults.drop(k, s.token) }
		return s, nil
	}
	g, reusable, err := o.logIn(ctx, k, s.trust)
	if err != nil {
		return vaultSession{}, err
	}
	if reusable {
		login.Vaults.keep(k, g, o.config.Now())
	}
	s.token = g.token
	return s, nil
}

// vaultAuth is the answer to a login.
type vaultAuth struct {
	Auth struct {
		Token string `json:"client_token"`
		// Lease is for how many seconds the token is good; 0 is for ever.
		Lease int64 `json:"lease_duration"`
		// Uses is how often it can be used; 0 is without limit.
		Uses int `json:"num_uses"`
	} `json:"auth"`
}

// logIn exchanges a token of the account, for this address alone, for one of the instance. That is used no longer than the
// account's, so that a ServiceAccount that is deleted is soon nobody at Vault, too.
func (o *Opener) logIn(ctx context.Context, k loginKey, trust transport.TLS) (g given, reusable bool, err error) {
	now := o.config.Now()
	var answer vaultAuth
	err = exchange(ctx, o.creds.login.Account, k.address, func(token string, until time.Time) error {
		g.until = until
		return o.vaultAuth(ctx, k, token, trust, &answer)
	})
	if err != nil {
		return given{}, false, err
	}
	if answer.Auth.Token == "" {
		return given{}, false, fmt.Errorf("%s answers without a token", k.address)
	}
	g.token = answer.Auth.Token
	if lease := time.Duration(min(answer.Auth.Lease, maxLease)) * time.Second; lease > 0 {
		if ends := now.Add(lease * 8 / 10); ends.Before(g.until) {
			g.until = ends
		}
	}
	return g, answer.Auth.Uses == 0, nil
}

// vaultAuth calls the login of an instance.
func (o *Opener) vaultAuth(ctx context.Context, k loginKey, token string, trust transport.TLS, answer *vaultAuth) error {
	base, err := secureURL(k.address)
	if err != nil {
		return err
	}
	body, err := json.Marshal(map[string]string{"role": k.role, "jwt": token})
	if err != nil {
		return err
	}
	req, err := request(ctx, base.JoinPath("v1", k.path).String(), "application/json", body)
	if err != nil {
		return err
	}
	req.Header.Set("X-Vault-Request", "true")
	err = o.call(req, trust, answer)
	if refusal, ok := errors.AsType[*statusError](err); ok && refusal.status < http.StatusInternalServerError {
		refusal.meaning = fmt.Sprintf(": %s must have a role %q that is bound to it, with the audience %q", k.path, k.role, k.address)
	}
	return err
}

// maxLease is the longest lease that is told apart, in seconds.
const maxLease = 24 * 60 * 60
