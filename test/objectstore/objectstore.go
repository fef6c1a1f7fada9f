// SPDX-License-Identifier: Apache-2.0

package objectstore

import (
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice.dev/sluice/internal/cloud"
	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/internal/kubetest"
	"sluice.dev/sluice/internal/transport"
	"sluice.dev/sluice/test/ports"
)

// The access key of the one user there is.
const (
	AccessKey = "reader-of-buckets"
	SecretKey = "secret-of-the-buckets-reader"
)

// Region is where a server with Options.Region says that it is.
const Region = "eu-test-1"

// Options configures a server. The zero value has no region.
type Options struct {
	// Region makes the server accept only signatures for Region.
	Region bool
	// Environment is added to the server's, for example the address of an LDAP server.
	Environment []string
}

// Server is a running MinIO.
type Server struct {
	// Address is where it listens, over plain HTTP.
	Address string

	region  string
	client  *http.Client
	digests fips.Digests
}

// patience is for a start on a busy machine.
const patience = 2 * time.Minute

// Start runs a server until the test ends.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	program := filepath.Join(kubetest.Programs(t, "minio"), "minio")
	address, err := ports.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	console, err := ports.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Address: address, region: "us-east-1"}
	env := []string{
		"HOME=" + t.TempDir(), "MINIO_ROOT_USER=" + AccessKey, "MINIO_ROOT_PASSWORD=" + SecretKey, "MINIO_BROWSER=off", "MINIO_UPDATE=off",
		"MINIO_CI_CD=1", "_MINIO_SERVER_DEBUG=off",
	}
	if o.Region {
		s.region = Region
		env = append(env, "MINIO_SITE_REGION="+Region)
	}
	cmd := exec.Command(program, "server", "--quiet", "--address", address, "--console-address", console, t.TempDir())
	cmd.Env = kubetest.Environment(append(env, o.Environment...)...)
	log, err := os.Create(filepath.Join(t.TempDir(), "minio.log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread() // the death signal is tied to the thread that starts the process
	err = cmd.Start()
	runtime.UnlockOSThread()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = log.Close()
	})
	if s.digests, err = fips.New(); err != nil {
		t.Fatal(err)
	}
	if s.client, err = transport.NewClient(transport.ClientOptions{}); err != nil {
		t.Fatal(err)
	}
	s.await(t, log.Name())
	return s
}

// await asks what the tests will ask: the server says that it is ready before it is.
func (s *Server) await(t testing.TB, log string) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		status, _, err := s.try(t, http.MethodGet, "/", "", "")
		if err == nil && status == http.StatusOK {
			return
		}
		if time.Now().After(deadline) {
			said, _ := os.ReadFile(log)
			t.Fatalf("MinIO is not ready: %d %v\n%s", status, err, said)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// Make makes a bucket.
func (s *Server) Make(t testing.TB, bucket string) {
	t.Helper()
	body := ""
	if s.region == Region {
		body = "<CreateBucketConfiguration><LocationConstraint>" + Region + "</LocationConstraint></CreateBucketConfiguration>"
	}
	s.ask(t, http.MethodPut, "/"+bucket, "", body)
}

// Put writes an object.
func (s *Server) Put(t testing.TB, bucket, key, content string) {
	t.Helper()
	s.ask(t, http.MethodPut, "/"+bucket+"/"+key, "", content)
}

// PutAll writes objects.
func (s *Server) PutAll(t testing.TB, bucket string, objects map[string]string) {
	t.Helper()
	for key, content := range objects {
		s.Put(t, bucket, key, content)
	}
}

// Delete removes an object.
func (s *Server) Delete(t testing.TB, bucket, key string) {
	t.Helper()
	s.ask(t, http.MethodDelete, "/"+bucket+"/"+key, "", "")
}

// Publish lets everybody read a bucket.
func (s *Server) Publish(t testing.TB, bucket string) {
	t.Helper()
	s.ask(t, http.MethodPut, "/"+bucket, "policy=", fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":["*"]},`+
		`"Action":["s3:GetObject","s3:ListBucket"],"Resource":["arn:aws:s3:::%s","arn:aws:s3:::%s/*"]}]}`, bucket, bucket))
}

// ETags returns the entity tags of a bucket by key, as the server lists them.
func (s *Server) ETags(t testing.TB, bucket string) map[string]string {
	t.Helper()
	var answer struct {
		Contents []struct{ Key, ETag string }
	}
	if err := xml.Unmarshal(s.ask(t, http.MethodGet, "/"+bucket, "list-type=2", ""), &answer); err != nil {
		t.Fatal(err)
	}
	tags := map[string]string{}
	for _, o := range answer.Contents {
		tags[o.Key] = strings.Trim(o.ETag, `"`)
	}
	return tags
}

// ask sends a signed request, and fails the test unless it is granted.
func (s *Server) ask(t testing.TB, method, path, query, body string) []byte {
	t.Helper()
	status, answer, err := s.try(t, method, path, query, body)
	if err != nil || status >= http.StatusMultipleChoices {
		t.Fatalf("%s %s: %d %v\n%s", method, path, status, err, answer)
	}
	return answer
}

func (s *Server) try(t testing.TB, method, path, query, body string) (status int, answer []byte, err error) {
	t.Helper()
	u := url.URL{Scheme: "http", Host: s.Address, Path: path, RawPath: escape(path), RawQuery: query}
	req, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), method, u.String(), strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	signer := cloud.S3{Credential: cloud.NewAWSCredential(AccessKey, SecretKey, ""), Region: s.region, Digests: s.digests}
	if err := signer.Sign(req, body, time.Now()); err != nil {
		t.Fatal(err)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	return resp.StatusCode, answer, err
}

func escape(path string) string {
	return strings.ReplaceAll(strings.ReplaceAll(url.QueryEscape(path), "+", "%20"), "%2F", "/")
}
