// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"sluice.dev/sluice/internal/oci"
	"sluice.dev/sluice/internal/sign"
	"sluice.dev/sluice/internal/transport"
	"sluice.dev/sluice/test/examples"
	"sluice.dev/sluice/test/gitserver"
)

// as runs and shows a command of kubectl or sluice in somebody's context, and returns what it prints.
func (s *stage) as(ctx context.Context, who, line string) (string, error) {
	program, rest, _ := strings.Cut(line, " ")
	return s.do(ctx, fmt.Sprintf("%s --context %s %s", program, who, rest))
}

// do runs and shows a command.
func (s *stage) do(ctx context.Context, line string) (string, error) {
	s.screen.command(line)
	return s.shell.run(ctx, line)
}

// apply applies files of the stage's folder as somebody.
func (s *stage) apply(ctx context.Context, who string, files ...string) error {
	out, err := s.as(ctx, who, "kubectl apply -f "+strings.Join(files, " -f "))
	if err == nil && strings.Count(out, "\n") < 6 {
		s.screen.quote(out)
	}
	return err
}

// release is the tag of every artifact of the demo.
const release = "1.0.0"

// push pushes a folder as team A to <registry>/team-a/<name>, as the release, signed unless the key is nil.
func (s *stage) push(ctx context.Context, name, folder string, key *sign.Key) error {
	files, err := examples.Files(s.open(folder))
	if err != nil {
		return err
	}
	content, err := tarGz(files)
	if err != nil {
		return err
	}
	repository, err := oci.ParseURL(s.registry.URL() + "/team-a/" + name)
	if err != nil {
		return err
	}
	keychain, err := oci.ParseDockerConfig(s.registry.DockerConfig())
	if err != nil {
		return err
	}
	client, err := s.pushes.Client(oci.Config{Repository: repository, Keychain: keychain, TLS: transport.TLS{CA: s.registry.CA()}})
	if err != nil {
		return err
	}
	digest, err := client.PushArtifact(ctx, release, content, map[string]string{oci.AnnotationRevision: release})
	if err != nil || key == nil {
		return err
	}
	return sign.Cosign(ctx, client, digest, key, sign.TagScheme)
}

// commit commits a folder's files to a repository's branch main, with changes, signed, and returns the commit's short id.
func (s *stage) commit(repo, message string, signer gitserver.SSHKey, files map[string]string) (string, error) {
	id, err := s.repos[repo].Commit(gitserver.CommitOptions{Files: files, Message: message, Sign: gitserver.SSHSign(signer.Signer)})
	if err != nil {
		return "", err
	}
	return id[:8], nil
}

// tarGz packs files in order, without times, so that equal content has an equal digest.
func tarGz(files map[string]string) ([]byte, error) {
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	archive := tar.NewWriter(zip)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		header := &tar.Header{Name: name, Mode: 0o644, Size: int64(len(files[name]))}
		if err := archive.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := io.WriteString(archive, files[name]); err != nil {
			return nil, err
		}
	}
	err := errors.Join(archive.Close(), zip.Close()) // both write
	return out.Bytes(), err
}
