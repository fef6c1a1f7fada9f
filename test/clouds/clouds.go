// SPDX-License-Identifier: Apache-2.0

package clouds

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice.dev/sluice/internal/transport"
)

// Config is what the clouds know.
type Config struct {
	// Review tells whose token it is, for an audience; empty means that it is not good.
	Review func(ctx context.Context, token, audience string) string
	// Trusts tells for a role's ARN, the address of a service account, a provider of a pool (without a service account), or a
	// client id of Entra, which subject it trusts.
	Trusts map[string]string
	// Clusters are known by "<region>/<name>" at AWS, by name at Google and by lower case id at Azure.
	Clusters map[string]Cluster
	// Git serves the repositories of Azure DevOps, CodeCommit and GitHub to whom they let in.
	Git http.Handler
	// Registry serves the registries of the clouds to whom they let in.
	Registry http.Handler
	// Keys are those of the key services: by ARN at AWS, by address at Azure, by name at Google.
	Keys map[string]Key
	// Storage is what the object stores hold.
	Storage Storage
	// App is a GitHub App.
	App App
}

// Cluster is where a cluster is.
type Cluster struct {
	Server string
	CA     []byte
	// Local marks one of Azure that does not know Entra.
	Local bool
}

// Clouds are running.
type Clouds struct {
	// CA is PEM with the authority of their certificates.
	CA []byte
	// Proxy is the way to them.
	Proxy *url.URL

	config Config

	mu     sync.Mutex
	tokens map[string]grant
	calls  []string
	broken http.HandlerFunc
}

// grant is what a token or an access key was given for.
type grant struct {
	who, scope, secret, session string
	expires                     time.Time
}

// Start runs the clouds until the test ends.
func Start(t testing.TB, config Config) *Clouds {
	t.Helper()
	c := &Clouds{config: config, tokens: map[string]grant{}}
	cert, key := c.certificate(t)
	tls, err := transport.ServerTLS(transport.ServerTLSOptions{Cert: cert, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(c)
	server.TLS = tls
	server.StartTLS()
	t.Cleanup(server.Close)
	proxy := httptest.NewServer(tunnel(server.Listener.Addr().String()))
	t.Cleanup(proxy.Close)
	if c.Proxy, err = url.Parse(proxy.URL); err != nil {
		t.Fatal(err)
	}
	return c
}

// certificate is good for the clouds' names and nothing else.
func (c *Clouds) certificate(t testing.TB) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "clouds"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		DNSNames: []string{
			"*.vault.azure.net", "*.vault.azure.cn", "login.chinacloudapi.cn",
			"*.eu-central-1.amazonaws.com", "*.cn-north-1.amazonaws.com.cn", "*.googleapis.com", "*.s3.eu-central-1.amazonaws.com", "*.blob.core.windows.net", "login.microsoftonline.com", "management.azure.com",
			"login.microsoftonline.us", "management.usgovcloudapi.net", "dev.azure.com", "github.com", "api.github.com",
			"*.ecr.eu-central-1.amazonaws.com", "*.dkr.ecr.eu-central-1.amazonaws.com", "*.dkr.ecr-fips.eu-central-1.amazonaws.com",
			"api.ecr-public.us-east-1.amazonaws.com", "shop.azurecr.io", "europe-docker.pkg.dev",
		},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	c.CA = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return c.CA, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

// tunnel is a proxy that connects everybody to one server.
func tunnel(server string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		hijacker, ok := w.(http.Hijacker)
		if r.Method != http.MethodConnect || !ok {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		var dialer net.Dialer
		out, err := dialer.DialContext(r.Context(), "tcp", server)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		in, buffered, err := hijacker.Hijack()
		if err != nil {
			_ = out.Close()
			return
		}
		_, _ = io.WriteString(in, "HTTP/1.1 200 OK\r\n\r\n")
		go pipe(in, out, out)
		pipe(out, in, buffered) // which may hold what has come since
	}
}

// pipe copies what is read into a connection, and closes both at its end.
func pipe(to, from net.Conn, read io.Reader) {
	_, _ = io.Copy(to, read)
	_, _ = to.Close(), from.Close()
}

// Calls returns what the clouds were asked so far, each as "<host> <operation>".
func (c *Clouds) Calls() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.calls...)
}

// Break answers every request with a handler; nil ends that.
func (c *Clouds) Break(handler http.HandlerFunc) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.broken = handler
}

// ServeHTTP implements http.Handler.
func (c *Clouds) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	c.calls = append(c.calls, r.Host+" "+r.Method+" "+r.URL.Path)
	broken := c.broken
	c.mu.Unlock()
	switch {
	case broken != nil:
		broken(w, r)
	case isRegistry(r.Host):
		c.registry(w, r, body)
	case strings.HasPrefix(r.Host, "sts.") && strings.Contains(r.Host, ".amazonaws."):
		c.sts(w, r, body)
	case strings.HasPrefix(r.Host, "git-codecommit."), r.Host == "dev.azure.com", r.Host == "github.com":
		c.repository(w, r, body)
	case r.Host == "api.github.com":
		c.github(w, r)
	case strings.Contains(r.Host, ".s3.") && strings.Contains(r.Host, ".amazonaws."):
		c.s3(w, r, body)
	case strings.HasSuffix(r.Host, ".blob.core.windows.net"):
		c.blobs(w, r)
	case strings.HasPrefix(r.Host, "kms."):
		c.kms(w, r, body)
	case strings.Contains(r.Host, ".vault.azure."):
		c.vault(w, r, body)
	case strings.HasPrefix(r.Host, "eks."):
		c.eks(w, r, body)
	case strings.HasSuffix(r.Host, ".googleapis.com"):
		c.google(w, r, body)
	case strings.HasPrefix(r.Host, "login."):
		c.entra(w, r, body)
	case strings.HasPrefix(r.Host, "management."):
		c.resources(w, r)
	default:
		w.WriteHeader(http.StatusMisdirectedRequest)
	}
}

// trusted reports whether an identity of a cloud trusts the workload of a token.
func (c *Clouds) trusted(ctx context.Context, identity, token, audience string) bool {
	subject := c.config.Review(ctx, token, audience)
	return subject != "" && c.config.Trusts[identity] == subject
}

// give makes a token or an access key.
func (c *Clouds) give(prefix string, g grant) string {
	name := prefix + rand.Text()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tokens[name] = g
	return name
}

// known returns what a token or an access key was given for.
func (c *Clouds) known(name string) (grant, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	g, ok := c.tokens[name]
	return g, ok && time.Now().Before(g.expires)
}

// bearerOf returns what the token of a request was given for.
func (c *Clouds) bearerOf(r *http.Request) (grant, bool) {
	return c.known(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
}

func answer(w http.ResponseWriter, status int, content any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(content)
}
