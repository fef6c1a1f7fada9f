// SPDX-License-Identifier: Apache-2.0

package soak_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fluxcd/pkg/apis/meta"

	"sluice.dev/sluice/internal/transport"
	"sluice.dev/sluice/test/bench/content"
	"sluice.dev/sluice/test/platform"
)

// source is an object and the content that it points to. Content comes in generations, each of which tells its number.
type source struct {
	object sourceObject
	// key names the source in messages.
	key string
	// publish makes a generation what the object points to, and returns its revision.
	publish func(ctx context.Context, generation int) (string, error)

	mu sync.Mutex
	// generations are those published so far, by revision.
	generations map[string]int
}

// sourceObject is a Flux source.
type sourceObject interface {
	client.Object
	GetArtifact() *meta.Artifact
	GetConditions() []metav1.Condition
}

// change publishes the next generation.
func (s *source) change(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := len(s.generations) + 1
	revision, err := s.publish(ctx, next)
	if err != nil {
		return err
	}
	if s.generations == nil {
		s.generations = map[string]int{}
	}
	s.generations[revision] = next
	return nil
}

// last is the number of the last generation.
func (s *source) last() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.generations)
}

// errWrong is an artifact that is not what its source's status says.
var errWrong = errors.New("wrong bytes")

func isWrong(err error) bool { return errors.Is(err, errWrong) }

// served downloads what the status names, checks it against digest, revision and what was published, and returns its generation.
func (s *source) served(ctx context.Context, p *platform.Platform) (int, error) {
	obj, _ := s.object.DeepCopyObject().(sourceObject)
	if err := p.Client.Get(ctx, client.ObjectKeyFromObject(s.object), obj); err != nil {
		return 0, err
	}
	a := obj.GetArtifact()
	if a == nil {
		return 0, fmt.Errorf("no artifact: %v", obj.GetConditions())
	}
	body, err := download(ctx, a.URL)
	if err != nil {
		return 0, err
	}
	sum := sha256.Sum256(body)
	if got := "sha256:" + hex.EncodeToString(sum[:]); got != a.Digest {
		return 0, fmt.Errorf("%w: revision %s has digest %s, served is %s", errWrong, a.Revision, a.Digest, got)
	}
	text, err := configMap(body)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", errWrong, err)
	}
	s.mu.Lock()
	generation, known := s.generations[a.Revision]
	s.mu.Unlock()
	if !known || text != content.Small(generation) {
		return 0, fmt.Errorf("%w: revision %s, published as %d, is served as\n%s", errWrong, a.Revision, generation, text)
	}
	return generation, nil
}

// download returns the body of a whole answer.
func download(ctx context.Context, url string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	consumer, err := transport.NewClient(transport.ClientOptions{UserAgent: ownAgent, NoKeepAlive: true})
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept-Encoding", "identity")
	resp, err := consumer.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", url, resp.Status)
	}
	return io.ReadAll(io.LimitReader(resp.Body, 16<<20))
}

// configMap returns the text of the file that tells the generation.
func configMap(archive []byte) (string, error) {
	z, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		return "", err
	}
	for t := tar.NewReader(z); ; {
		header, err := t.Next()
		if err != nil {
			return "", fmt.Errorf("no configmap.yaml: %w", err)
		}
		if header.Name == "configmap.yaml" || strings.HasSuffix(header.Name, "/configmap.yaml") {
			text, err := io.ReadAll(io.LimitReader(t, 1<<20))
			return string(text), err
		}
	}
}
