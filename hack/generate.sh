#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Writes what is generated: CRDs from the API modules, docs from the rules. With "check" it says what is out of date
# instead.
set -euo pipefail
cd "$(dirname "$0")/.."
export CGO_ENABLED=0 GOFIPS140=v1.0.0
if [[ ${1:-} == check ]]; then
	go run ./hack/gen -check
	go test ./policy/engine -run 'Docs|Document'
else
	go run ./hack/gen
	go test ./policy/engine -run 'Docs|Document' -update
fi
