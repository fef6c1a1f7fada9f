// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"crypto/tls"
	"crypto/x509"
	"testing"
)

func TestIssuedCertificatesVerify(t *testing.T) {
	authority, err := NewAuthority("bed")
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := NewAuthority("bed")
	if err != nil {
		t.Fatal(err)
	}
	server, err := authority.IssueServer(Subject{User: "server"}, "kubernetes.default.svc")
	if err != nil {
		t.Fatal(err)
	}
	client, err := authority.IssueClient(Subject{User: "alice", Groups: []string{"system:masters"}})
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		pair  Pair
		trust *Authority
		host  string
		usage x509.ExtKeyUsage
		fails bool
	}{
		"server by loopback address":   {pair: server, trust: authority, host: "127.0.0.1", usage: x509.ExtKeyUsageServerAuth},
		"server by service name":       {pair: server, trust: authority, host: "kubernetes.default.svc", usage: x509.ExtKeyUsageServerAuth},
		"server by another name":       {pair: server, trust: authority, host: "example.com", usage: x509.ExtKeyUsageServerAuth, fails: true},
		"client as client":             {pair: client, trust: authority, usage: x509.ExtKeyUsageClientAuth},
		"client as server":             {pair: client, trust: authority, usage: x509.ExtKeyUsageServerAuth, fails: true},
		"another bed of the same name": {pair: client, trust: stranger, usage: x509.ExtKeyUsageClientAuth, fails: true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			pair, err := tls.X509KeyPair(tc.pair.Cert, tc.pair.Key)
			if err != nil {
				t.Fatal(err)
			}
			roots := x509.NewCertPool()
			roots.AppendCertsFromPEM(tc.trust.CertPEM())
			_, err = pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: tc.host, KeyUsages: []x509.ExtKeyUsage{tc.usage}})
			if (err != nil) != tc.fails {
				t.Errorf("verify: %v, want failure %t", err, tc.fails)
			}
		})
	}
}
