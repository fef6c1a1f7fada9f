// SPDX-License-Identifier: Apache-2.0

package clusters

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// kubeconfigText is a kubeconfig with fields of its cluster and its user, in YAML's flow style.
func kubeconfigText(cluster, user string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: Config\ncurrent-context: spoke\n"+
		"contexts:\n- {name: spoke, context: {cluster: spoke, user: hub}}\n- {name: other, context: {cluster: other, user: other}}\n"+
		"clusters:\n- {name: spoke, cluster: {%s}}\n- {name: other, cluster: {server: 'http://other', insecure-skip-tls-verify: true}}\n"+
		"users:\n- {name: hub, user: {%s}}\n- {name: other, user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: sh}}}\n", cluster, user)
}

const (
	goodServer = "server: 'https://spoke.example:6443/'"
	goodUser   = "token: hunter2"
)

func TestParseKubeconfig(t *testing.T) {
	type found struct{ Server, Name, Token, User, Password, Proxy string }
	tests := map[string]struct {
		text string
		want found
	}{
		"a token": {
			text: kubeconfigText(goodServer, goodUser),
			want: found{Server: "https://spoke.example:6443", Token: "hunter2"},
		},
		"name and password": {
			text: kubeconfigText(goodServer, "username: hub, password: hunter2"),
			want: found{Server: "https://spoke.example:6443", User: "hub", Password: "hunter2"},
		},
		"a server below a path, behind a proxy, with another name": {
			text: kubeconfigText("server: 'https://rancher.example/k8s/clusters/c-1', tls-server-name: spoke, proxy-url: 'http://u:p@proxy.example:3128'", goodUser),
			want: found{Server: "https://rancher.example/k8s/clusters/c-1", Name: "spoke", Token: "hunter2", Proxy: "http://u:p@proxy.example:3128"},
		},
		"a server without a scheme is https": {
			text: kubeconfigText("server: 'spoke.example:6443'", goodUser),
			want: found{Server: "https://spoke.example:6443", Token: "hunter2"},
		},
		"JSON": {
			text: `{"apiVersion":"v1","kind":"Config","current-context":"a","contexts":[{"name":"a","context":{"cluster":"a","user":"a"}}],` +
				`"clusters":[{"name":"a","cluster":{"server":"https://a"}}],"users":[{"name":"a","user":{"token":"hunter2"}}]}`,
			want: found{Server: "https://a", Token: "hunter2"},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			e, err := parseKubeconfig([]byte(tc.text))
			if err != nil {
				t.Fatal(err)
			}
			got := found{Server: e.server, Name: e.tls.ServerName, Token: string(e.token)}
			if e.basic != nil {
				got.User, got.Password = e.basic.name, string(e.basic.password)
			}
			if e.proxy != nil {
				got.Proxy = e.proxy.String()
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestKubeconfigRefusals is about CVE-2022-24817, its relatives, and isolation case E10: no program, no file, no server that is
// not checked, nobody else's name.
func TestKubeconfigRefusals(t *testing.T) {
	canary := filepath.Join(t.TempDir(), "ran")
	secret := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(secret, []byte("hunter2"), 0o600); err != nil {
		t.Fatal(err)
	}
	withCluster := func(field string) string { return kubeconfigText(goodServer+", "+field, goodUser) }
	withUser := func(field string) string { return kubeconfigText(goodServer, goodUser+", "+field) }
	refused := map[string]struct{ text, field string }{
		"a program": {withUser("exec: {apiVersion: client.authentication.k8s.io/v1, command: touch, args: ['" + canary + "']}"), "exec"},
		"a program of an auth provider": {
			withUser("auth-provider: {name: gcp, config: {cmd-path: touch, cmd-args: '" + canary + "'}}"), "auth-provider",
		},
		"an unchecked server":                {withCluster("insecure-skip-tls-verify: true"), "insecure-skip-tls-verify"},
		"a file of authorities":              {withCluster("certificate-authority: /etc/passwd"), "certificate-authority"},
		"a file beside the content":          {withCluster("certificate-authority: ca.crt, certificate-authority-data: Cg=="), "certificate-authority"},
		"a file with a token":                {kubeconfigText(goodServer, "tokenFile: '"+secret+"'"), "tokenFile"},
		"a file with a token beside a token": {withUser("tokenFile: '" + secret + "'"), "tokenFile"},
		"a file with a certificate":          {withUser("client-certificate: tls.crt"), "client-certificate"},
		"a file with a key":                  {withUser("client-key: tls.key"), "client-key"},
		"a user to impersonate":              {withUser("as: system:admin"), "as"},
		"a user id to impersonate":           {withUser("as-uid: '1'"), "as-uid"},
		"groups to impersonate":              {withUser("as-groups: ['system:masters']"), "as-groups"},
		"more to impersonate":                {withUser("as-user-extra: {a: [b]}"), "as-user-extra"},
		"a server in the clear":              {kubeconfigText("server: 'http://spoke.example'", goodUser), "server"},
		"a server of another scheme":         {kubeconfigText("server: 'unix:///run/spoke'", goodUser), ""},
		"credentials in the address":         {kubeconfigText("server: 'https://u:hunter2@spoke.example'", goodUser), "server"},
		"a query in the address":             {kubeconfigText("server: 'https://spoke.example?a=b'", goodUser), "server"},
		"a proxy of another scheme":          {withCluster("proxy-url: 'socks5://proxy.example'"), "proxy-url"},
		"a proxy in a file":                  {withCluster("proxy-url: 'file:///etc/passwd'"), ""},
		"no server":                          {kubeconfigText("certificate-authority-data: ''", goodUser), ""},
		"no credentials":                     {kubeconfigText(goodServer, ""), ""},
		"two credentials":                    {withUser("username: hub, password: hunter2"), ""},
		"authorities that are none":          {withCluster("certificate-authority-data: aHVudGVyMg=="), ""},
		"a certificate without a key":        {kubeconfigText(goodServer, "client-certificate-data: aHVudGVyMg=="), ""},
		"a key without a certificate":        {withUser("client-key-data: aHVudGVyMg=="), ""},
		"no such context":                    {strings.Replace(kubeconfigText(goodServer, goodUser), "current-context: spoke", "current-context: gone", 1), ""},
		"no context":                         {strings.Replace(kubeconfigText(goodServer, goodUser), "current-context: spoke\n", "", 1), ""},
		"no such cluster":                    {strings.Replace(kubeconfigText(goodServer, goodUser), "cluster: spoke, user", "cluster: gone, user", 1), ""},
		"no such user":                       {strings.Replace(kubeconfigText(goodServer, goodUser), "user: hub", "user: gone", 1), ""},
		"no YAML":                            {"{hunter2", ""},
		"another kind":                       {"apiVersion: v1\nkind: Secret\ndata: {token: hunter2}\n", ""},
		"nothing":                            {"", ""},
		"endless":                            {kubeconfigText(goodServer, goodUser) + strings.Repeat("# hunter2\n", maxKubeconfig/10), ""},
		"an alias bomb":                      {bomb(), ""},
	}
	for name, tc := range refused {
		t.Run(name, func(t *testing.T) {
			_, err := parseKubeconfig([]byte(tc.text))
			if err == nil {
				t.Fatal("accepted")
			}
			if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "aHVudGVyMg") {
				t.Errorf("the error quotes a secret: %v", err)
			}
			r, ok := errors.AsType[*refusal](err)
			if tc.field != "" && (!ok || r.field != tc.field || r.why == "") {
				t.Errorf("error %v does not refuse %q by name", err, tc.field)
			}
		})
	}
	if _, err := os.Stat(canary); err == nil {
		t.Error("a program was run")
	}
}

// bomb is YAML that grows by a factor of nine with each of its levels.
func bomb() string {
	text := "a0: &a0 [x,x,x,x,x,x,x,x,x]\n"
	for i := range 12 {
		text += fmt.Sprintf("a%d: &a%d [%s]\n", i+1, i+1, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i), 9), ","))
	}
	return text + kubeconfigText(goodServer, goodUser)
}

func TestEndpointsDoNotShow(t *testing.T) {
	e, err := parseKubeconfig([]byte(kubeconfigText(goodServer, goodUser)))
	if err != nil {
		t.Fatal(err)
	}
	e.basic = &userInfo{name: "hub", password: "hunter2"}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		if shown := fmt.Sprintf(verb, e) + fmt.Sprintf(verb, []any{e, e.token, e.basic.password}); strings.Contains(shown, "hunter2") {
			t.Errorf("%s shows %s", verb, shown)
		}
	}
}

func TestKubeconfigIn(t *testing.T) {
	all := map[string][]byte{"value": []byte("1"), "value.yaml": []byte("2"), "admin.conf": []byte("3")}
	tests := map[string]struct {
		data  map[string][]byte
		entry string
		want  string // empty is an error
	}{
		"the key that is given":          {all, "admin.conf", "3"},
		"value comes first":              {all, "", "1"},
		"value.yaml comes second":        {map[string][]byte{"value.yaml": []byte("2")}, "", "2"},
		"no other key is guessed":        {map[string][]byte{"admin.conf": []byte("3")}, "", ""},
		"a key that is not there":        {all, "gone", ""},
		"value does not stand in for it": {map[string][]byte{"value": []byte("1")}, "admin.conf", ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := kubeconfigIn(tc.data, tc.entry)
			if (err != nil) != (tc.want == "") || string(got) != tc.want {
				t.Errorf("%q, %v; want %q", got, err, tc.want)
			}
		})
	}
}
