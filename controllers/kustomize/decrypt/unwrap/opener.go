// SPDX-License-Identifier: Apache-2.0

package unwrap

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"sluice.dev/sluice/controllers/kustomize/decrypt/sops"
	"sluice.dev/sluice/internal/cloud"
	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/internal/transport"
)

// Config is what opening takes beside credentials. All fields are required.
type Config struct {
	// Policy refuses or reports what the FIPS profile says of age and PGP.
	Policy fips.Policy
	// Backend signs with keys of service accounts of Google Cloud.
	Backend fips.Backend
	// Clouds reaches AWS, Azure and Google Cloud.
	Clouds *cloud.Client
	// Client makes the client of a Vault or an OpenBao that trusts these authorities.
	Client func(transport.TLS) (*http.Client, error)
	// Now is the clock.
	Now func() time.Time
}

// Validate reports a missing field.
func (c Config) Validate() error {
	if c.Backend == nil || c.Clouds == nil || c.Client == nil || c.Now == nil {
		return errors.New("unwrap: Backend, Clouds, Client and Now are required")
	}
	return nil
}

// callTimeout bounds one call of a Vault.
const callTimeout = 20 * time.Second

// NewClient is the Client of Config for production: no redirects, which would carry a token elsewhere.
func NewClient(userAgent string) func(transport.TLS) (*http.Client, error) {
	return func(t transport.TLS) (*http.Client, error) {
		return transport.NewClient(transport.ClientOptions{
			TLS: t, UserAgent: userAgent, Timeout: callTimeout, MaxRedirects: -1, NoKeepAlive: true, ProxyFromEnvironment: true,
		})
	}
}

// Opener opens data keys with the credentials of one Secret. It remembers what it has opened and belongs to one run of one
// object: use it from one goroutine, and drop it afterwards.
type Opener struct {
	config Config
	creds  Credentials
	opened map[string][]byte
	// allowed are the answers of the FIPS policy, so that each is asked for and reported once.
	allowed map[fips.Feature]error
	// tokens are those of clouds by what they are for, and awsGiven credentials for tokens of the account.
	tokens   map[string]cloud.Token
	awsGiven map[cloud.Region]cloud.AWSCredential
	// vaults is the platform's list, once it was read.
	vaults *Vaults
}

// NewOpener returns an opener.
func NewOpener(config Config, creds Credentials) (*Opener, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	return &Opener{
		config: config, creds: creds, opened: map[string][]byte{}, allowed: map[fips.Feature]error{}, tokens: map[string]cloud.Token{},
		awsGiven: map[cloud.Region]cloud.AWSCredential{},
	}, nil
}

// DataKey opens the data key of a file: with one key of its group, or with one of each of as many groups as it needs.
func (o *Opener) DataKey(ctx context.Context, f *sops.File) ([]byte, error) {
	groups := f.Groups()
	if len(groups) == 1 {
		return o.group(ctx, groups[0])
	}
	var shares [][]byte
	var errs []error
	for _, group := range groups {
		share, err := o.group(ctx, group)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if shares = append(shares, share); len(shares) == f.Threshold() {
			return sops.Combine(shares)
		}
	}
	return nil, fmt.Errorf("%d of %d key groups opened, %d are needed: %w", len(shares), len(groups), f.Threshold(), errors.Join(errs...))
}

// order is that of trying: what the module computes before what it does not.
func order() []sops.Kind {
	return []sops.Kind{sops.Vault, sops.AWSKMS, sops.AzureKV, sops.GCPKMS, sops.HuaweiKMS, sops.Age, sops.PGP}
}

// maxReasons is how many keys a message tells about.
const maxReasons = 4

func (o *Opener) group(ctx context.Context, group []sops.Key) ([]byte, error) {
	keys := slices.Clone(group)
	slices.SortStableFunc(keys, func(a, b sops.Key) int { return slices.Index(order(), a.Kind) - slices.Index(order(), b.Kind) })
	var errs []error
	for _, key := range keys {
		data, err := o.open(ctx, key)
		if err == nil {
			return data, nil
		}
		if errs = append(errs, fmt.Errorf("%s: %w", key.Name(), err)); ctx.Err() != nil {
			break
		}
	}
	if more := len(errs) - maxReasons; more > 0 {
		errs = append(errs[:maxReasons], fmt.Errorf("and %d more keys", more))
	}
	return nil, fmt.Errorf("no key opens it: %w", errors.Join(errs...))
}

// open opens one entry, or remembers that it has been opened.
func (o *Opener) open(ctx context.Context, key sops.Key) ([]byte, error) {
	id := key.Name() + "\x00" + key.Encrypted
	if data, ok := o.opened[id]; ok {
		return data, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	open, ok := map[sops.Kind]func(context.Context, sops.Key) ([]byte, error){
		sops.Vault: o.vault, sops.AWSKMS: o.aws, sops.AzureKV: o.azure, sops.GCPKMS: o.gcp, sops.Age: o.age, sops.PGP: o.pgp,
	}[key.Kind]
	if !ok {
		return nil, errors.New("this kind of key is not supported: add a key of Vault, AWS, Azure or Google with sops updatekeys")
	}
	data, err := open(ctx, key)
	if err != nil {
		return nil, err
	}
	o.opened[id] = data
	return data, nil
}

// allow asks the FIPS policy once for each feature.
func (o *Opener) allow(f fips.Feature, named string) error {
	err, asked := o.allowed[f]
	if !asked {
		err = o.config.Policy.AllowNamed(f, named)
		o.allowed[f] = err
	}
	return err
}

// token gets a token of a cloud, once for a purpose and run.
func (o *Opener) token(purpose string, get func() (cloud.Token, error)) (cloud.Token, error) {
	if token, ok := o.tokens[purpose]; ok {
		return token, nil
	}
	token, err := get()
	if err == nil {
		o.tokens[purpose] = token
	}
	return token, err
}

// explained says what a cloud's refusal usually means here.
func explained(err error) error {
	if refusal, ok := errors.AsType[*cloud.Error](err); ok && hint(refusal.Status) != "" {
		return fmt.Errorf("%w%s", err, hint(refusal.Status))
	}
	return err
}

// errNoEntry says which entry of the Secret would open a key.
func errNoEntry(name string) error {
	return fmt.Errorf("the decryption Secret has no entry %s", name)
}
