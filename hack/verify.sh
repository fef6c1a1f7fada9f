#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Checks what a reader takes for granted: formats, import rules, generated files that are current, tidy modules, and the
# sub-modules, which `go test ./...` does not see.
set -euo pipefail
cd "$(dirname "$0")/.."
export CGO_ENABLED=0 GOFIPS140=v1.0.0

say() { echo "verify: $*"; }

say formats
unformatted=$(gofmt -l $(git ls-files '*.go'))
if [[ -n $unformatted ]]; then
	echo "not formatted, run gofmt -w:" $unformatted >&2
	exit 1
fi

say "import rules"
go test ./hack/arch

say "generated files"
hack/generate.sh check

say modules
go mod verify >/dev/null
go mod tidy -diff
go mod tidy -C hack/testbed -diff

say "sub-modules"
(cd hack/testbed && env -u GOFIPS140 go vet ./... && env -u GOFIPS140 go test ./...)

say "cryptography of the programs"
make --no-print-directory build
say "all good"
