// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"sluice.dev/sluice/internal/oci"
	"sluice.dev/sluice/test/bench/content"
	"sluice.dev/sluice/test/bench/kube"
	"sluice.dev/sluice/test/bench/rig"
)

// OCIRepositories is n small artifacts in n repositories of a registry that gives tokens: until all are Ready, asked to reconcile
// when nothing has changed, and a quiet while in which their interval passes.
func OCIRepositories(ctx context.Context, o Options) error {
	return with(ctx, o, "ocirepos", o.N, func(r *rig.Rig) error {
		host, err := r.ServeOCI(ctx)
		if err != nil {
			return err
		}
		if err := pushSmall(ctx, host, o.N); err != nil {
			return err
		}
		if err := addRegistryCredential(ctx, r, host); err != nil {
			return err
		}
		objects := make([]kube.Object, o.N)
		for i := range objects {
			objects[i] = withCredential(ociRepository(smallName(i), "oci://"+host+"/"+smallName(i), quietInterval))
		}
		return steady(ctx, o, r, ociRepositories, "oci", objects)
	})
}

func smallName(i int) string { return fmt.Sprintf("small-%04d", i) }

// pushSmall pushes n artifacts, each to a repository of its own.
func pushSmall(ctx context.Context, host string, n int) error {
	return kube.Parallel(n, 8, func(i int) error {
		c, err := pusher(host, smallName(i))
		if err != nil {
			return err
		}
		artifact, err := content.SmallArtifact(i)
		if err != nil {
			return err
		}
		_, err = c.PushArtifact(ctx, "latest", artifact, nil)
		return err
	})
}

// steady creates sources and looks at what they cost until all are Ready, when they are asked to reconcile and nothing has changed,
// and when their interval passes.
func steady(ctx context.Context, o Options, r *rig.Rig, collection, name string, objects []kube.Object) error {
	if err := r.StartCandidate(ctx, rig.Source); err != nil {
		return err
	}
	t, err := r.Kube.Track(ctx, collection)
	if err != nil {
		return err
	}
	if err := pause(ctx, 3*time.Second); err != nil {
		return err
	}
	m := r.Begin(name+"-install", len(objects))
	wait := t.Expect(len(objects), (*kube.State).Ready)
	start := time.Now()
	if err := kube.Parallel(len(objects), 8, func(i int) error { return r.Kube.Create(ctx, objects[i]) }); err != nil {
		return err
	}
	done, err := wait.Until(ctx, o.Timeout)
	if err != nil {
		return fmt.Errorf("%s: %w", m.Name, err)
	}
	m.Seconds["total"] = last(done).Sub(start).Seconds()
	if err := m.End(ctx); err != nil {
		return err
	}
	if err := trigger(ctx, r, o, t, collection, name+"-unchanged"); err != nil {
		return err
	}
	return quiet(ctx, o, r, name+"-interval", len(objects))
}

// quiet looks at a while in which intervals pass and nothing changes.
func quiet(ctx context.Context, o Options, r *rig.Rig, name string, units int) error {
	m := r.Begin(name, units)
	if err := pause(ctx, o.Window); err != nil {
		return err
	}
	return m.EndNow()
}

func ociRepository(name, url, interval string) kube.Object {
	return kube.Object{
		"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "OCIRepository",
		"metadata": kube.Object{"name": name, "namespace": rig.Namespace},
		"spec":     kube.Object{"interval": interval, "url": url, "insecure": true, "ref": kube.Object{"tag": "latest"}, "timeout": "5m"},
	}
}

// withCredential lets an OCIRepository use the credential that addRegistryCredential makes.
func withCredential(o kube.Object) kube.Object {
	o["spec"].(kube.Object)["secretRef"] = kube.Object{"name": registryCredential}
	return o
}

// registryCredential is a Secret with the credential of the rig's registry.
const registryCredential = "registry"

// dockerConfig is the credential in the form that Secrets have.
func dockerConfig(host string) ([]byte, error) {
	return json.Marshal(kube.Object{"auths": kube.Object{host: kube.Object{"username": rig.RegistryUser, "password": rig.RegistryPassword}}})
}

func addRegistryCredential(ctx context.Context, r *rig.Rig, host string) error {
	config, err := dockerConfig(host)
	if err != nil {
		return err
	}
	return r.Kube.Create(ctx, kube.Object{
		"apiVersion": "v1", "kind": "Secret", "metadata": kube.Object{"name": registryCredential, "namespace": rig.Namespace},
		"type": "kubernetes.io/dockerconfigjson", "stringData": kube.Object{".dockerconfigjson": string(config)},
	})
}

// pusher returns what pushes to a repository of the rig's registry.
func pusher(host, repository string) (*oci.Client, error) {
	parsed, err := oci.ParseURL("oci://" + host + "/" + repository)
	if err != nil {
		return nil, err
	}
	config, err := dockerConfig(host)
	if err != nil {
		return nil, err
	}
	keychain, err := oci.ParseDockerConfig(config)
	if err != nil {
		return nil, err
	}
	return oci.NewPool(oci.PoolConfig{UserAgent: kube.UserAgent}).Client(oci.Config{Repository: parsed, Insecure: true, Keychain: keychain})
}
