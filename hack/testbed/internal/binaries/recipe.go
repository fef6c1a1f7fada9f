// SPDX-License-Identifier: Apache-2.0

package binaries

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// module is one folder below servers/: a go.mod, the programs it provides, and what is told to the linker.
type module struct {
	folder   string
	path     string
	stamps   func(version string) []string
	programs []program
}

type program struct {
	name, pkg string
}

// Plane is the name of the set that a control plane needs. The others are servers that some tests need beside it.
const Plane = "plane"

// Sets returns the names of all sets.
func Sets() []string { return []string{Plane, "minio"} }

// recipe lists what is built for a set; none for a name that is no set's. The order is that of building: the largest share of packages
// first.
func recipe(set string) []module {
	switch set {
	case Plane:
		return plane()
	case "minio":
		return []module{{
			folder: "minio", path: "github.com/minio/minio", stamps: noStamps,
			programs: []program{{"minio", "github.com/minio/minio"}},
		}}
	default:
		return nil
	}
}

func plane() []module {
	return []module{
		{
			folder: "kubernetes", path: "k8s.io/kubernetes", stamps: kubernetesStamps,
			programs: []program{
				{"kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"},
				{"kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager"},
				{"kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"},
				{"kubectl", "k8s.io/kubernetes/cmd/kubectl"},
			},
		},
		{
			folder: "kwok", path: "sigs.k8s.io/kwok", stamps: noStamps,
			programs: []program{{"kwok", "sigs.k8s.io/kwok/cmd/kwok"}},
		},
		{
			folder: "etcd", path: "go.etcd.io/etcd/server/v3", stamps: noStamps,
			programs: []program{{"etcd", "go.etcd.io/etcd/server/v3"}},
		},
	}
}

func noStamps(string) []string { return nil }

// kubernetesStamps make the server report its version, which clients compare with what they support. Without them it
// claims to be v0.0.0.
func kubernetesStamps(version string) []string {
	const pkg = "k8s.io/component-base/version."
	parts := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	stamps := []string{"-X " + pkg + "gitVersion=" + version, "-X " + pkg + "gitTreeState=clean"}
	if len(parts) == 3 {
		stamps = append(stamps, "-X "+pkg+"gitMajor="+parts[0], "-X "+pkg+"gitMinor="+parts[1])
	}
	return stamps
}

// flags are the arguments of go build, and of go list when it is asked what building would compile.
func (m module) flags(version string) []string {
	return []string{"-trimpath", "-buildvcs=false", "-ldflags=" + strings.Join(append([]string{"-s", "-w"}, m.stamps(version)...), " ")}
}

// recipeVersion is raised when something below changes that the hash does not see.
const recipeVersion = "1"

// key names the folder of the result: a hash over the module files, the Go version, the platform and the recipe.
func key(source, set, goVersion string) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, recipeVersion, goVersion, runtime.GOOS, runtime.GOARCH)
	for _, m := range recipe(set) {
		fmt.Fprintln(h, m.folder, m.flags("version"), m.programs)
		for _, name := range []string{"go.mod", "go.sum"} {
			body, err := os.ReadFile(filepath.Join(source, "servers", m.folder, name))
			if err != nil {
				return "", fmt.Errorf("read the module files of the servers: %w", err)
			}
			fmt.Fprintln(h, name, len(body))
			h.Write(body)
		}
	}
	return hex.EncodeToString(h.Sum(nil))[:16], nil
}

// environment is that of the go command while it builds servers: whatever is set for building or testing Sluice
// itself is taken out, so that the result depends on the key alone.
func environment() []string {
	decided := map[string]string{
		"CGO_ENABLED": "0", "GOFIPS140": "off", "GOFLAGS": "-mod=readonly", "GOWORK": "off",
		"GOOS": runtime.GOOS, "GOARCH": runtime.GOARCH, "GOEXPERIMENT": "", "GODEBUG": "", "PWD": "",
	}
	env := slices.DeleteFunc(os.Environ(), func(pair string) bool {
		name, _, _ := strings.Cut(pair, "=")
		_, ok := decided[name]
		return ok
	})
	for name, value := range decided {
		if value != "" {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// goOutput asks the go command something in dir.
func goOutput(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = environment()
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return "", fmt.Errorf("go %s: %s: %w", args[0], strings.TrimSpace(string(exit.Stderr)), err)
		}
		return "", fmt.Errorf("go %s: %w", args[0], err)
	}
	return strings.TrimSpace(string(out)), nil
}
