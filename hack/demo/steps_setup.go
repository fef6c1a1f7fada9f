// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"sluice.dev/sluice/test/examples"
	"sluice.dev/sluice/test/ports"
)

// ownNamespace is the controllers' own.
const ownNamespace = "flux-system"

// setUpCluster installs kinds, tenants, roles and Secrets.
func setUpCluster(ctx context.Context, s *stage) (string, error) {
	commands := []string{
		"kubectl apply --server-side -f crds",
		"kubectl wait --for condition=Established --timeout 60s -f crds",
		"kubectl apply -f platform/cluster.yaml -f platform/roles.yaml -f platform/secrets.yaml",
	}
	objects := 0
	for _, line := range commands {
		out, err := s.do(ctx, line)
		if err != nil {
			return "", err
		}
		objects += strings.Count(out, "applied\n") + strings.Count(out, "created\n")
	}
	return fmt.Sprintf("%d objects", objects), nil
}

// startControllers runs one manager for each controller, as two Deployments would.
func startControllers(ctx context.Context, s *stage) (string, error) {
	address, err := ports.FreeAddress()
	if err != nil {
		return "", err
	}
	if err := os.Mkdir(s.path("artifacts"), 0o700); err != nil { // the volume, in a cluster
		return "", err
	}
	for name, key := range map[string][]byte{"statement-key.pem": s.keys.statementPriv, "statement-key.pub": s.keys.statementPub} {
		if err := os.WriteFile(s.path(name), key, 0o600); err != nil {
			return "", err
		}
	}
	commands := map[string]string{
		"source":    "--storage-path artifacts --storage-addr " + address + " --storage-adv-addr " + address + " --statement-key statement-key.pem",
		"kustomize": "--artifact-server http://" + address + " --statement-trust statement-key.pub",
	}
	said := ""
	for _, name := range []string{"source", "kustomize"} {
		g, err := s.startController(ctx, name, commands[name])
		if err != nil {
			return "", err
		}
		said = g.FIPS
	}
	s.screen.fact("module", said)
	if !strings.Contains(said, "operating in its FIPS mode") {
		return said, errors.New("the controllers do not run in FIPS mode")
	}
	return "both run, FIPS mode on", nil
}

func (s *stage) startController(ctx context.Context, name, flags string) (greeting, error) {
	account := name + "-controller"
	if err := s.kube.login(ctx, ownNamespace, account, s.path(account+".kubeconfig")); err != nil {
		return greeting{}, err
	}
	line := "sluice-manager --controllers " + name + " --policy-parameters platform/tenants.yaml --state-dir state/" + name +
		" --metrics-addr 0 --health-addr 0 " + flags
	s.screen.command(line)
	program, args, err := s.shell.parse(line)
	if err != nil {
		return greeting{}, err
	}
	m, err := start(account, program, s.dir, s.path(account+".kubeconfig"), s.path(account+".log"), args...)
	if err != nil {
		return greeting{}, err
	}
	s.managers = append(s.managers, m)
	select {
	case g := <-m.started:
		return g, nil
	case <-m.done:
		return greeting{}, m.err
	case <-ctx.Done():
		return greeting{}, ctx.Err()
	}
}

func deliverBaseline(ctx context.Context, s *stage) (string, error) {
	files, err := examples.Files(s.open("platform"))
	if err != nil {
		return "", err
	}
	for name := range files {
		if !strings.HasPrefix(name, "baseline/") {
			delete(files, name) // what is applied by hand is not delivered
		}
	}
	id, err := s.commit("platform/cluster.git", "Add the baseline of both tenants", s.keys.platform, files)
	if err != nil {
		return "", err
	}
	s.screen.say("the platform team commits %s, signs it, and pushes it to %s/platform/cluster.git", id, s.https.URL)
	if err := s.apply(ctx, platform, "platform/delivery.yaml"); err != nil {
		return "", err
	}
	return s.awaitDelivery(ctx, delivery{
		who: platform, source: gitRepository(ownNamespace, "platform"), ks: kustomization(ownNamespace, "baseline"),
		written: resourceQuota(teamA, "baseline"), account: ownNamespace + ":sluice-platform",
	})
}

func deliverTeamA(ctx context.Context, s *stage) (string, error) {
	s.screen.say("team A pushes %s/team-a/app:1.0.0 and signs its digest", s.registry.URL())
	if err := s.push(ctx, "app", "team-a/app", s.keys.teamA); err != nil {
		return "", err
	}
	if err := s.apply(ctx, teamA, "team-a/delivery.yaml"); err != nil {
		return "", err
	}
	return s.awaitDelivery(ctx, delivery{
		who: teamA, source: ociRepository(teamA, "app"), ks: kustomization(teamA, "app"),
		written: deployment(teamA, "web"), account: teamA + ":deployer",
	})
}

func deliverTeamB(ctx context.Context, s *stage) (string, error) {
	files, err := examples.Files(s.open("team-b/app"))
	if err != nil {
		return "", err
	}
	id, err := s.commit(teamBRepository, "Release 1.0.0", s.keys.teamB, files)
	if err != nil {
		return "", err
	}
	s.screen.say("team B commits %s, signs it, and pushes it to %s/%s", id, s.ssh.URL, teamBRepository)
	if err := s.apply(ctx, teamB, "team-b/delivery.yaml"); err != nil {
		return "", err
	}
	return s.awaitDelivery(ctx, delivery{
		who: teamB, source: gitRepository(teamB, "app"), ks: kustomization(teamB, "app"),
		written: deployment(teamB, "web"), account: teamB + ":deployer",
	})
}

// delivery is a source and its Kustomization, as they should come out.
type delivery struct {
	who        string
	source, ks ref
	// written is one of the objects, and account as whom it is to be written, <namespace>:<name>.
	written ref
	account string
}

// awaitDelivery waits until source and Kustomization are Ready, and shows what was verified, what was applied, and as whom.
func (s *stage) awaitDelivery(ctx context.Context, d delivery) (string, error) {
	src, err := s.kube.until(ctx, d.source, ready)
	if err != nil {
		return "", err
	}
	if _, err := s.kube.until(ctx, d.ks, ready); err != nil {
		return "", err
	}
	s.screen.fact("verified", strings.TrimPrefix(conditionNamed(src, "SourceVerified").Message, "verified signature of "))
	out, err := s.as(ctx, d.who, "sluice tree ks "+d.ks.name+" -n "+d.ks.namespace)
	if err != nil {
		return "", err
	}
	s.screen.quote(out)
	return s.writtenAs(ctx, d)
}

// writtenAs asks the API server's audit log who has written an object.
func (s *stage) writtenAs(ctx context.Context, d delivery) (string, error) {
	user, err := s.kube.writer(ctx, d.written)
	if err != nil {
		return "", err
	}
	s.screen.fact("audit", fmt.Sprintf("%s was written by %s", d.written, user))
	if want := "system:serviceaccount:" + d.account; user != want {
		return "", fmt.Errorf("it was to be %s", want)
	}
	return "Ready, by " + strings.Replace(d.account, ":", "/", 1), nil
}
