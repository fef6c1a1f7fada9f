// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"sluice.dev/sluice/test/examples"
)

const teamBRepository = "team-b/app.git"

// editByHand edits as a person would, and measures until the edit is gone, from the moment at which it was seen.
func editByHand(ctx context.Context, s *stage) (string, error) {
	var edited, restored time.Time
	watched, armed := make(chan error, 1), make(chan struct{})
	arm := sync.OnceFunc(func() { close(armed) })
	watching, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		_, err := s.kube.until(watching, deployment(teamB, "web"), func(o *unstructured.Unstructured) bool {
			arm()
			switch replicas := replicasOf(o); {
			case replicas != delivered && edited.IsZero():
				edited = time.Now()
			case replicas == delivered && !edited.IsZero():
				restored = time.Now()
			}
			return !restored.IsZero()
		})
		watched <- err
	}()
	select {
	case <-armed:
	case err := <-watched:
		return "", err
	}
	out, err := s.as(ctx, teamB, "kubectl scale deployment web --replicas 5")
	if err != nil {
		return "", err
	}
	s.screen.quote(out)
	if err := <-watched; err != nil {
		return "", err
	}
	took := restored.Sub(edited).Round(time.Millisecond)
	s.screen.fact("outcome", fmt.Sprintf("spec.replicas is %d again, %s after the edit; no interval was waited for", delivered, took))
	return fmt.Sprintf("put back after %s", took), nil
}

// delivered is the number of replicas in examples/team-b.
const delivered = 1

func replicasOf(o *unstructured.Unstructured) int64 {
	n, _, err := unstructured.NestedInt64(o.Object, "spec", "replicas")
	if err != nil {
		return -1
	}
	return n
}

// Values of the key GREETING in team B's ConfigMap, as delivered and as changed.
const (
	oldGreeting      = "hello from team-b"
	newGreeting      = "good morning from team-b"
	strangerGreeting = "hello from a stranger"
)

// commitGreeting commits team B's files with another greeting.
func (s *stage) commitGreeting(as, message, greeting string, stranger bool) (string, error) {
	files, err := examples.Files(s.open("team-b/app"))
	if err != nil {
		return "", err
	}
	changed := strings.Replace(files["config.yaml"], oldGreeting, greeting, 1)
	if changed == files["config.yaml"] {
		return "", fmt.Errorf("config.yaml has no %q", oldGreeting)
	}
	files["config.yaml"] = changed
	signer := s.keys.teamB
	if stranger {
		signer = s.keys.strangerB
	}
	id, err := s.commit(teamBRepository, message, signer, files)
	if err != nil {
		return "", err
	}
	s.screen.say("%s pushes commit %s, %q", as, id, message)
	return id, nil
}

func pushCommit(ctx context.Context, s *stage) (string, error) {
	id, err := s.commitGreeting("team B", "Greet by the time of day", newGreeting, false)
	if err != nil {
		return "", err
	}
	out, err := s.as(ctx, teamB, "sluice reconcile ks app -n team-b --with-source")
	if err != nil {
		return "", err
	}
	s.screen.quote(out)
	config, err := s.kube.until(ctx, configMap(teamB, "web"), func(o *unstructured.Unstructured) bool {
		return field(o, "data", "GREETING") == newGreeting
	})
	if err != nil {
		return "", err
	}
	s.screen.fact("outcome", fmt.Sprintf("ConfigMap web has GREETING=%q", field(config, "data", "GREETING")))
	return "commit " + id + " is applied", nil
}

func pushStrangersCommit(ctx context.Context, s *stage) (string, error) {
	before, err := s.kube.get(ctx, gitRepository(teamB, "app"))
	if err != nil {
		return "", err
	}
	if _, err := s.commitGreeting("a stranger", "Greet from elsewhere", strangerGreeting, true); err != nil {
		return "", err
	}
	out, err := s.as(ctx, teamB, "sluice reconcile source git app -n team-b")
	if err == nil {
		return "", errors.New("the source accepted the commit")
	}
	s.screen.quote(out)
	source, err := s.kube.until(ctx, gitRepository(teamB, "app"), func(o *unstructured.Unstructured) bool {
		return conditionOf(o).Status == "False"
	})
	if err != nil {
		return "", err
	}
	s.showOutcome(source)
	if was, is := field(before, "status", "artifact", "digest"), field(source, "status", "artifact", "digest"); was != is {
		return "", fmt.Errorf("the artifact has changed from %s to %s", was, is)
	}
	config, err := s.kube.get(ctx, configMap(teamB, "web"))
	if err != nil {
		return "", err
	}
	if got := field(config, "data", "GREETING"); got != newGreeting {
		return "", fmt.Errorf("GREETING is %q", got)
	}
	s.screen.fact("kept", fmt.Sprintf("ConfigMap web still has GREETING=%q", newGreeting))
	return "refused, last state kept", nil
}
