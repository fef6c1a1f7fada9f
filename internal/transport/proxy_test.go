// SPDX-License-Identifier: Apache-2.0

package transport_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluice.dev/sluice/internal/transport"
	"sluice.dev/sluice/test/waypoint"
)

const (
	proxyUser     = "passer-by"
	proxyPassword = "pa55-of-the-proxy"
)

// proxies starts one proxy of each kind that asks for a credential.
func proxies(t *testing.T) (ca []byte, all map[string]*waypoint.Proxy) {
	t.Helper()
	ca, cert, key := authority(t)
	all = map[string]*waypoint.Proxy{}
	for _, scheme := range []string{"http", "https", "socks5"} {
		all[scheme] = waypoint.Start(t, waypoint.Options{
			Scheme: scheme, Username: proxyUser, Password: proxyPassword, TLS: transport.ServerTLSOptions{Cert: cert, Key: key},
		})
	}
	return ca, all
}

func proxyAt(t *testing.T, address, user, password string) transport.Proxy {
	t.Helper()
	p, err := transport.ProxyFromSecret(map[string][]byte{"address": []byte(address), "username": []byte(user), "password": []byte(password)})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestClientGoesThroughItsProxy: for http and for https servers, with the right credential, and never with a word of it in an error.
func TestClientGoesThroughItsProxy(t *testing.T) {
	ca, all := proxies(t)
	serverCA, cert, key := authority(t)
	secure := serve(t, transport.ServerTLSOptions{Cert: cert, Key: key})
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Header.Get("Proxy-Authorization") != "" {
			t.Error("the server sees the proxy's credential")
		}
		_, _ = io.WriteString(w, "plain")
	}))
	t.Cleanup(plain.Close)
	for scheme, through := range all {
		for name, target := range map[string]string{"http": plain.URL, "https": secure} {
			t.Run(name+" through "+scheme, func(t *testing.T) {
				trust := transport.TLS{CA: append(append([]byte{}, ca...), serverCA...)}
				client, err := transport.NewClient(transport.ClientOptions{TLS: trust, Proxy: proxyAt(t, through.Address, proxyUser, proxyPassword)})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(client.CloseIdleConnections)
				if _, err := get(t, client, target); err != nil {
					t.Fatal(err)
				}
				u, err := url.Parse(target)
				if err != nil {
					t.Fatal(err)
				}
				if !strings.Contains(fmt.Sprint(through.Targets()), u.Host) {
					t.Errorf("the proxy was asked for %v, not for %s", through.Targets(), u.Host)
				}
			})
		}
		t.Run("refused by "+scheme, func(t *testing.T) {
			client, err := transport.NewClient(transport.ClientOptions{
				TLS: transport.TLS{CA: append(append([]byte{}, ca...), serverCA...)}, Proxy: proxyAt(t, through.Address, proxyUser, "no-pa55word"),
			})
			if err != nil {
				t.Fatal(err)
			}
			_, err = get(t, client, secure)
			refusal(t, err, "no-pa55word")
		})
	}
}

// refusal wants an error that does not tell a password, not even encoded.
func refusal(t *testing.T, err error, password string) {
	t.Helper()
	if err == nil {
		t.Fatal("a wrong password is let through")
	}
	for _, secret := range []string{password, base64.StdEncoding.EncodeToString([]byte(proxyUser + ":" + password))} {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("%q tells the credential", err)
		}
	}
}

// TestDialerGoesThroughItsProxy: for protocols in which the server speaks first, as SSH's does.
func TestDialerGoesThroughItsProxy(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, "hello")
			_, _ = io.Copy(conn, conn)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		<-done
	})
	ca, all := proxies(t)
	address := listener.Addr().String()
	for scheme, through := range all {
		t.Run(scheme, func(t *testing.T) {
			dial := func(password string) (net.Conn, error) {
				return transport.Dialer{
					Proxy: proxyAt(t, through.Address, proxyUser, password), TLS: transport.TLS{CA: ca},
				}.DialContext(context.Background(), "tcp", address)
			}
			conn, err := dial(proxyPassword)
			if err != nil {
				t.Fatal(err)
			}
			_, err = io.WriteString(conn, " and back")
			if err != nil {
				t.Fatal(err)
			}
			got := make([]byte, len("hello and back"))
			if _, err := io.ReadFull(conn, got); err != nil || string(got) != "hello and back" {
				t.Errorf("read %q, %v", got, err)
			}
			if err := conn.Close(); err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff([]string{address}, through.Targets()); diff != "" {
				t.Errorf("targets (-want +got):\n%s", diff)
			}
			_, err = dial("no-pa55word")
			refusal(t, err, "no-pa55word")
		})
	}
}

func TestProxyFromSecret(t *testing.T) {
	long := "http://" + strings.Repeat("p", 2048)
	for name, tc := range map[string]struct {
		data map[string]string
		want string // "" for an error
		user string
	}{
		"an address":                     {map[string]string{"address": "http://p.example:3128"}, "http://p.example:3128", ""},
		"an address with a name":         {map[string]string{"address": "https://p.example", "username": "u", "password": "w"}, "https://p.example", "u"},
		"a name in the address":          {map[string]string{"address": "socks5://u:w@p.example:1080/"}, "socks5://p.example:1080", "u"},
		"the name beside it goes before": {map[string]string{"address": "http://x:y@p.example", "username": "u", "password": "w"}, "http://p.example", "u"},
		"nothing":                        {},
		"another scheme":                 {data: map[string]string{"address": "ftp://s3cret.example"}},
		"no host":                        {data: map[string]string{"address": "http://:3128"}},
		"no address":                     {data: map[string]string{"address": "s3cret\x00"}},
		"too long":                       {data: map[string]string{"address": long}},
		"a password alone":               {data: map[string]string{"address": "http://p.example", "password": "s3cret"}},
	} {
		t.Run(name, func(t *testing.T) {
			data := map[string][]byte{}
			for key, value := range tc.data {
				data[key] = []byte(value)
			}
			p, err := transport.ProxyFromSecret(data)
			if err != nil {
				if tc.want != "" || strings.Contains(err.Error(), "s3cret") {
					t.Fatal(err)
				}
				return
			}
			if p.String() != tc.want || p.Username != tc.user {
				t.Errorf("got %v for %q", p, p.Username)
			}
			if text := fmt.Sprintf("%v %+v %#v", p, p, p); strings.Contains(text, "w@") || strings.Contains(text, `"w"`) {
				t.Errorf("%q shows the password", text)
			}
		})
	}
}
