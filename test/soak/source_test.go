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
	"strconv"
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
	// publish makes a generation what the object points to, and returns its revision, or nothing where only the controller
	// computes one.
	publish func(ctx context.Context, generation int) (string, error)
	// read returns the generation that an artifact is of; nil means generationOf.
	read func(artifact []byte) (int, error)

	mu sync.Mutex
	// generations is how many were published, and revisions those of which it is known.
	generations int
	revisions   map[string]int
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
	next := s.generations + 1
	revision, err := s.publish(ctx, next)
	if err != nil {
		return err
	}
	if s.revisions == nil {
		s.revisions = map[string]int{}
	}
	if s.generations = next; revision != "" {
		s.revisions[revision] = next
	}
	return nil
}

// last is the number of the last generation.
func (s *source) last() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.generations
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
	read := s.read
	if read == nil {
		read = generationOf
	}
	generation, err := read(body)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", errWrong, err)
	}
	s.mu.Lock()
	published, known := s.revisions[a.Revision]
	last, computed := s.generations, len(s.revisions) > 0
	s.mu.Unlock()
	if known && generation != published || !known && computed || generation > last {
		return 0, fmt.Errorf("%w: revision %s, published as generation %d of %d, is served as %d", errWrong, a.Revision, published, last, generation)
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

// generationOf reads the number in configmap.yaml of an archive, which holds nothing else.
func generationOf(archive []byte) (int, error) {
	z, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		return 0, err
	}
	for t := tar.NewReader(z); ; {
		header, err := t.Next()
		if err != nil {
			return 0, fmt.Errorf("no configmap.yaml: %w", err)
		}
		if header.Name != "configmap.yaml" && !strings.HasSuffix(header.Name, "/configmap.yaml") {
			continue
		}
		text, err := io.ReadAll(io.LimitReader(t, 1<<20))
		if err != nil {
			return 0, err
		}
		_, number, _ := strings.Cut(string(text), "number: \"")
		n, err := strconv.Atoi(strings.TrimSuffix(number, "\"\n"))
		if err != nil || content.Small(n) != string(text) {
			return 0, fmt.Errorf("damaged text %q", text)
		}
		return n, nil
	}
}
