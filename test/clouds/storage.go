// SPDX-License-Identifier: Apache-2.0

package clouds

import (
	"crypto"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Storage is what the object stores of all three clouds hold, and whom they let in beside those whom Config.Trusts names.
type Storage struct {
	// Bucket is the name of the one bucket, and Objects is its content.
	Bucket  string
	Objects map[string]string
	// AccessKeys are keys of AWS with their secrets.
	AccessKeys map[string]string
	// Google is the key of the service account Email.
	Google *rsa.PublicKey
	Email  string
	// AccountKey and SAS are those of the account at Azure, and Secrets those of applications by their client ids.
	AccountKey []byte
	SAS        string
	Secrets    map[string]string
	// Certificates are those of applications, by their client ids too.
	Certificates map[string]*x509.Certificate
}

// pageSize is small, so that a listing has pages.
const pageSize = 2

// page returns the keys from a mark on, and the mark of the next page.
func (s Storage) page(prefix, mark string) (keys []string, next string) {
	for _, key := range slices.Sorted(maps.Keys(s.Objects)) {
		switch {
		case !strings.HasPrefix(key, prefix) || key < mark:
		case len(keys) == pageSize:
			return keys, key
		default:
			keys = append(keys, key)
		}
	}
	return keys, ""
}

func (s Storage) tag(key string) string {
	sum := sha256.Sum256([]byte(s.Objects[key]))
	return hex.EncodeToString(sum[:8])
}

// s3 answers ListObjectsV2 and GetObject.
func (c *Clouds) s3(w http.ResponseWriter, r *http.Request, body []byte) {
	s := c.config.Storage
	refuse := func(status int, code string) {
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, "<Error><Code>%s</Code></Error>", code)
	}
	name, region, _ := strings.Cut(r.Host, ".s3.")
	region, _, _ = strings.Cut(region, ".")
	g, err := c.signed(r, body, region, "s3")
	key, query := strings.TrimPrefix(r.URL.Path, "/"), r.URL.Query()
	_, found := s.Objects[key]
	switch {
	case err != nil || g.who == "":
		refuse(http.StatusForbidden, "SignatureDoesNotMatch")
	case name != s.Bucket:
		refuse(http.StatusNotFound, "NoSuchBucket")
	case key != "" && !found:
		refuse(http.StatusNotFound, "NoSuchKey")
	case key != "" && r.Header.Get("If-Match") != "" && r.Header.Get("If-Match") != `"`+s.tag(key)+`"`:
		refuse(http.StatusPreconditionFailed, "PreconditionFailed")
	case key != "":
		w.Header().Set("ETag", `"`+s.tag(key)+`"`)
		w.Header().Set("Content-Length", strconv.Itoa(len(s.Objects[key])))
		_, _ = w.Write([]byte(s.Objects[key]))
	default:
		keys, next := s.page(query.Get("prefix"), query.Get("continuation-token"))
		var out strings.Builder
		fmt.Fprintf(&out, "<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>%t</IsTruncated><NextContinuationToken>%s</NextContinuationToken>", next != "", next)
		for _, key := range keys {
			fmt.Fprintf(&out, "<Contents><Key>%s</Key><ETag>&quot;%s&quot;</ETag><Size>%d</Size></Contents>", url.QueryEscape(key), s.tag(key), len(s.Objects[key]))
		}
		_, _ = w.Write([]byte(out.String() + "</ListBucketResult>"))
	}
}

// gcs answers objects.list and objects.get.
func (c *Clouds) gcs(w http.ResponseWriter, r *http.Request) {
	s := c.config.Storage
	refuse := func(status int, code string) {
		answer(w, status, map[string]any{"error": map[string]any{"code": status, "status": code}})
	}
	g, ok := c.bearerOf(r)
	root := "/storage/v1/b/" + s.Bucket + "/o"
	escaped, isObject := strings.CutPrefix(r.URL.EscapedPath(), root+"/")
	key, _ := url.PathUnescape(escaped)
	_, found := s.Objects[key]
	query := r.URL.Query()
	switch {
	case !ok || g.who == "":
		refuse(http.StatusUnauthorized, "UNAUTHENTICATED")
	case !isObject && r.URL.Path != root || isObject && (!found || strings.Contains(escaped, "/")):
		refuse(http.StatusNotFound, "NOT_FOUND")
	case isObject && query.Has("ifGenerationMatch") && query.Get("ifGenerationMatch") != generation(s.tag(key)) || isObject && query.Get("alt") != "media":
		refuse(http.StatusPreconditionFailed, "FAILED_PRECONDITION")
	case isObject:
		w.Header().Set("X-Goog-Generation", generation(s.tag(key)))
		_, _ = w.Write([]byte(s.Objects[key]))
	default:
		keys, next := s.page(query.Get("prefix"), query.Get("pageToken"))
		items := []map[string]string{}
		for _, key := range keys {
			items = append(items, map[string]string{
				"name": key, "etag": "C" + s.tag(key) + "=", "generation": generation(s.tag(key)), "size": strconv.Itoa(len(s.Objects[key])),
			})
		}
		answer(w, http.StatusOK, map[string]any{"items": items, "nextPageToken": next})
	}
}

func generation(tag string) string {
	n, _ := strconv.ParseUint(tag[:12], 16, 64)
	return strconv.FormatUint(n, 10)
}

// oauth exchanges what a key of a service account has signed (RFC 7523 §2.1).
func (c *Clouds) oauth(w http.ResponseWriter, body []byte) {
	s := c.config.Storage
	form, _ := url.ParseQuery(string(body))
	parts := strings.Split(form.Get("assertion"), ".")
	refuse := func() { answer(w, http.StatusBadRequest, map[string]string{"error": "invalid_grant"}) }
	if form.Get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" || len(parts) != 3 || s.Google == nil {
		refuse()
		return
	}
	payload, _ := base64.RawURLEncoding.DecodeString(parts[1])
	signature, _ := base64.RawURLEncoding.DecodeString(parts[2])
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	var claims struct {
		Issuer   string `json:"iss"`
		Audience string `json:"aud"`
		Scope    string `json:"scope"`
		Expires  int64  `json:"exp"`
	}
	switch {
	case rsa.VerifyPKCS1v15(s.Google, crypto.SHA256, sum[:], signature) != nil, json.Unmarshal(payload, &claims) != nil:
		refuse()
	case claims.Issuer != s.Email || claims.Audience != "https://oauth2.googleapis.com/token" || time.Unix(claims.Expires, 0).Before(time.Now()) ||
		claims.Scope != "https://www.googleapis.com/auth/devstorage.read_only" && claims.Scope != kmsScope:
		refuse()
	default:
		token := c.give("ya29.", grant{who: s.Email, scope: claims.Scope, expires: time.Now().Add(time.Hour)})
		answer(w, http.StatusOK, map[string]any{"access_token": token, "expires_in": 3599, "token_type": "Bearer"})
	}
}

// blobs answers List Blobs and Get Blob.
func (c *Clouds) blobs(w http.ResponseWriter, r *http.Request) {
	s := c.config.Storage
	refuse := func(status int, code string) {
		w.Header().Set("X-Ms-Error-Code", code)
		w.WriteHeader(status)
	}
	key, isObject := strings.CutPrefix(r.URL.Path, "/"+s.Bucket+"/")
	_, found := s.Objects[key]
	query := r.URL.Query()
	switch {
	case r.Header.Get("X-Ms-Version") == "" || !c.blobReader(r):
		refuse(http.StatusForbidden, "AuthenticationFailed")
	case !isObject && r.URL.Path != "/"+s.Bucket:
		refuse(http.StatusNotFound, "ContainerNotFound")
	case isObject && !found:
		refuse(http.StatusNotFound, "BlobNotFound")
	case isObject && r.Header.Get("If-Match") != "" && r.Header.Get("If-Match") != `"0x`+s.tag(key)+`"`:
		refuse(http.StatusPreconditionFailed, "ConditionNotMet")
	case isObject:
		w.Header().Set("ETag", `"0x`+s.tag(key)+`"`)
		w.Header().Set("Content-Length", strconv.Itoa(len(s.Objects[key])))
		_, _ = w.Write([]byte(s.Objects[key]))
	case query.Get("restype") != "container" || query.Get("comp") != "list":
		refuse(http.StatusBadRequest, "InvalidQueryParameterValue")
	default:
		keys, next := s.page(query.Get("prefix"), query.Get("marker"))
		var out strings.Builder
		out.WriteString("\xef\xbb\xbf<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults><Blobs>")
		for _, key := range keys {
			fmt.Fprintf(&out, "<Blob><Name>%s</Name><Properties><Etag>0x%s</Etag><Content-Length>%d</Content-Length></Properties></Blob>", key, s.tag(key), len(s.Objects[key]))
		}
		_, _ = w.Write([]byte(out.String() + "</Blobs><NextMarker>" + next + "</NextMarker></EnumerationResults>"))
	}
}

// blobReader reports whether a request may read blobs: by a token for storage, by the account's key or by its signature.
func (c *Clouds) blobReader(r *http.Request) bool {
	s := c.config.Storage
	account, _, _ := strings.Cut(r.Host, ".")
	query := r.URL.Query()
	if g, ok := c.bearerOf(r); ok {
		return g.scope == "https://storage.azure.com/.default"
	}
	if s.SAS != "" && query.Get("sig") == s.SAS {
		return true
	}
	signature, ok := strings.CutPrefix(r.Header.Get("Authorization"), "SharedKey "+account+":")
	if !ok {
		return false
	}
	// https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key
	lines := []string{r.Method, "", "", "", "", "", "", "", r.Header.Get("If-Match"), "", "", ""}
	lines = append(lines, "x-ms-date:"+r.Header.Get("X-Ms-Date"), "x-ms-version:"+r.Header.Get("X-Ms-Version"), "/"+account+r.URL.EscapedPath())
	for _, name := range slices.Sorted(maps.Keys(query)) {
		lines = append(lines, name+":"+query.Get(name))
	}
	mac := hmac.New(sha256.New, s.AccountKey)
	mac.Write([]byte(strings.Join(lines, "\n")))
	return signature == base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
