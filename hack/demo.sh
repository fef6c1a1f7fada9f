#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Plays the demo on a control plane of its own. KEEP=1 leaves everything running until Ctrl-C.

set -eu
cd "$(dirname "$0")/.."

go_fips() { CGO_ENABLED=0 GOFIPS140=v1.0.0 go "$@"; }

go_fips run ./hack/progress build -ldflags '-s -w' -o bin/ ./hack/demo
keep=
case "${KEEP:-}" in '' | 0 | no | false) ;; *) keep=-keep ;; esac

cd hack/testbed
# The bed builds its servers first, and shows what remains of that. Its own program is small.
exec go run ./cmd/testbed exec --chdir ../.. -- bin/demo $keep
