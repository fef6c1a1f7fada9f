// SPDX-License-Identifier: Apache-2.0

package clouds

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"sort"
	"strings"
	"time"
)

var sessionName = regexp.MustCompile(`^[\w+=,.@-]{2,64}$`)

// sts answers AssumeRoleWithWebIdentity, and AssumeRole, for which a role trusts the id of an access key.
func (c *Clouds) sts(w http.ResponseWriter, r *http.Request, body []byte) {
	refuse := func(status int, code string) {
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error></ErrorResponse>`, code, body)
	}
	form, err := url.ParseQuery(string(body))
	role, action := form.Get("RoleArn"), form.Get("Action")
	switch {
	case err != nil || r.Method != http.MethodPost || r.URL.Path != "/" || !strings.HasPrefix(action, "AssumeRole") || form.Get("Version") != "2011-06-15":
		refuse(http.StatusBadRequest, "InvalidAction")
	case !sessionName.MatchString(form.Get("RoleSessionName")) || form.Get("DurationSeconds") != "900":
		refuse(http.StatusBadRequest, "ValidationError")
	case action == "AssumeRole":
		by, err := c.signed(r, body, strings.Split(r.Host, ".")[1], "sts")
		if err != nil || c.config.Trusts[role] != by.who {
			refuse(http.StatusForbidden, "AccessDenied")
			return
		}
		c.assumed(w, action, role, form.Get("RoleSessionName"))
	case c.config.Review(r.Context(), form.Get("WebIdentityToken"), "sts.amazonaws.com") == "":
		refuse(http.StatusBadRequest, "InvalidIdentityToken")
	case !c.trusted(r.Context(), role, form.Get("WebIdentityToken"), "sts.amazonaws.com"):
		refuse(http.StatusForbidden, "AccessDenied")
	default:
		c.assumed(w, action, role, form.Get("RoleSessionName"))
	}
}

// assumed answers with a credential of a role.
func (c *Clouds) assumed(w http.ResponseWriter, action, role, session string) {
	g := grant{who: role, scope: session, secret: rand.Text(), session: rand.Text() + "/+=", expires: time.Now().Add(15 * time.Minute)}
	id := c.give("ASIA", g)
	_, _ = fmt.Fprintf(w, `<%[1]sResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><%[1]sResult><Credentials>`+
		`<AccessKeyId>%[2]s</AccessKeyId><SecretAccessKey>%[3]s</SecretAccessKey><SessionToken>%[4]s</SessionToken><Expiration>%[5]s</Expiration>`+
		`</Credentials></%[1]sResult></%[1]sResponse>`, action, id, g.secret, g.session, g.expires.UTC().Format(time.RFC3339))
}

// eks answers DescribeCluster.
func (c *Clouds) eks(w http.ResponseWriter, r *http.Request, body []byte) {
	region := strings.Split(r.Host, ".")[1]
	if _, err := c.signed(r, body, region, "eks"); err != nil {
		w.Header().Set("X-Amzn-Errortype", "AccessDeniedException:http://internal.amazon.com/coral/")
		answer(w, http.StatusForbidden, map[string]string{"message": err.Error()})
		return
	}
	name, ok := strings.CutPrefix(r.URL.Path, "/clusters/")
	cluster, found := c.config.Clusters[region+"/"+name]
	if !ok || !found || r.Method != http.MethodGet {
		w.Header().Set("X-Amzn-Errortype", "ResourceNotFoundException")
		answer(w, http.StatusNotFound, map[string]string{"message": "No cluster found"})
		return
	}
	answer(w, http.StatusOK, map[string]any{"cluster": map[string]any{
		"name": name, "endpoint": cluster.Server, "certificateAuthority": map[string]any{"data": cluster.CA},
	}})
}

// EKSUser tells whose token it is, as an API server of EKS finds out with the name of its own cluster. Empty means nobody's.
func (c *Clouds) EKSUser(token, region, cluster string) string {
	encoded, ok := strings.CutPrefix(token, "k8s-aws-v1.")
	address, err := base64.RawURLEncoding.DecodeString(encoded)
	if !ok || err != nil {
		return ""
	}
	r, err := http.NewRequest(http.MethodGet, string(address), http.NoBody)
	if err != nil || r.URL.Scheme != "https" || !strings.HasPrefix(r.Host, "sts."+region+".amazonaws.") || r.URL.Path != "/" {
		return ""
	}
	query := r.URL.Query()
	for name := range query {
		switch strings.ToLower(name) {
		case "action", "version", "x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-expires", "x-amz-security-token", "x-amz-signature", "x-amz-signedheaders":
		default:
			return ""
		}
	}
	if query.Get("Action") != "GetCallerIdentity" || query.Get("Version") != "2011-06-15" || query.Get("X-Amz-Expires") != "900" ||
		query.Get("X-Amz-SignedHeaders") != "host;x-k8s-aws-id" {
		return ""
	}
	r.Header.Set("x-k8s-aws-id", cluster)
	g, err := c.signed(r, nil, region, "sts")
	if err != nil {
		return ""
	}
	return g.who
}

// signature is what a request carries, in its header or its query.
type signature struct{ credential, headers, value, date, session string }

func carried(r *http.Request) (signature, url.Values) {
	query := r.URL.Query()
	if query.Has("X-Amz-Signature") {
		s := signature{query.Get("X-Amz-Credential"), query.Get("X-Amz-SignedHeaders"), query.Get("X-Amz-Signature"), query.Get("X-Amz-Date"), query.Get("X-Amz-Security-Token")}
		query.Del("X-Amz-Signature")
		return s, query
	}
	s := signature{date: r.Header.Get("X-Amz-Date"), session: r.Header.Get("X-Amz-Security-Token")}
	fields, _ := strings.CutPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ")
	for field := range strings.SplitSeq(fields, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(field), "=")
		switch name {
		case "Credential":
			s.credential = value
		case "SignedHeaders":
			s.headers = value
		case "Signature":
			s.value = value
		}
	}
	return s, query
}

// signed checks the signature of a request and returns whose it is.
func (c *Clouds) signed(r *http.Request, body []byte, region, service string) (grant, error) {
	s, query := carried(r)
	date, err := time.Parse("20060102T150405Z", s.date)
	if err != nil || time.Since(date).Abs() > 15*time.Minute {
		return grant{}, errors.New("RequestExpired")
	}
	id, scope, _ := strings.Cut(s.credential, "/")
	if want := date.Format("20060102") + "/" + region + "/" + service + "/aws4_request"; scope != want {
		return grant{}, errors.New("scope " + scope)
	}
	g, ok := c.known(id)
	if secret, given := c.config.Storage.AccessKeys[id]; given && !ok {
		g, ok = grant{who: id, secret: secret}, true
	}
	if !ok || s.session != g.session {
		return grant{}, errors.New("UnrecognizedClient")
	}
	var headers strings.Builder
	for name := range strings.SplitSeq(s.headers, ";") {
		value := r.Header.Get(name)
		if name == "host" {
			value = r.Host
		}
		headers.WriteString(name + ":" + strings.TrimSpace(value) + "\n")
	}
	path := r.URL.Path
	if service == "s3" { // whose keys are any text
		path = strings.ReplaceAll(escape(path), "%2F", "/")
	}
	canonical := strings.Join([]string{r.Method, path, sorted(query), headers.String(), s.headers, hexSum(body)}, "\n")
	key := []byte("AWS4" + g.secret)
	for _, part := range []string{date.Format("20060102"), region, service, "aws4_request", "AWS4-HMAC-SHA256\n" + s.date + "\n" + scope + "\n" + hexSum([]byte(canonical))} {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(part))
		key = mac.Sum(nil)
	}
	if !strings.Contains(";"+s.headers+";", ";host;") || s.value != hex.EncodeToString(key) {
		return grant{}, errors.New("SignatureDoesNotMatch")
	}
	return g, nil
}

// sorted writes a query as AWS wants it signed.
func sorted(query url.Values) string {
	var pairs []string
	for name, values := range query {
		for _, value := range values {
			pairs = append(pairs, escape(name)+"="+escape(value))
		}
	}
	sort.Strings(pairs)
	return strings.Join(pairs, "&")
}

func escape(text string) string {
	var out strings.Builder
	for _, b := range []byte(text) {
		if strings.IndexByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~", b) >= 0 {
			out.WriteByte(b)
		} else {
			_, _ = fmt.Fprintf(&out, "%%%02X", b)
		}
	}
	return out.String()
}

func hexSum(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
