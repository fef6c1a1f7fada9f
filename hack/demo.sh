#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Plays the demo on a control plane of its own. KEEP=1 leaves everything running until Ctrl-C.

set -eu
cd "$(dirname "$0")/.."

keep=
case "${KEEP:-}" in '' | 0 | no | false) ;; *) keep=-keep ;; esac

echo "demo: building its servers"
CGO_ENABLED=0 GOFIPS140=v1.0.0 go build -ldflags '-s -w' -o bin/ ./hack/demo
echo "demo: starting a control plane (built once for this machine: that takes minutes and shows what remains)"
cd hack/testbed
# shellcheck disable=SC2086 # nothing, or one flag
exec go run ./cmd/testbed exec --chdir ../.. -- bin/demo $keep
