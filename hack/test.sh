#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Runs all tests on one control plane: first in FIPS mode "on", as the product runs, then in mode "only", in which the standard
# library refuses what is not approved. The mode is set for the test processes alone, never for the servers of the bed.
#
#   hack/test.sh            everything
#   hack/test.sh -short     unit tests: no control plane, no servers started from elsewhere
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
export CGO_ENABLED=0 GOFIPS140=v1.0.0

if [[ ${1:-} == -short ]]; then
	exec go test -short ./...
fi

echo "test: 1 of 5: build the product and its tests (on a fresh machine this takes minutes)"
go run ./hack/progress vet ./...
go build -ldflags '-s -w' -o bin/ ./cmd/sluice-manager
export SLUICE_MANAGER=$root/bin/sluice-manager

echo "test: 2 of 5: the control plane (built once for this machine)"
env -u CGO_ENABLED -u GOFIPS140 go -C hack/testbed build -o "$root/bin/testbed" ./cmd/testbed
bin/testbed build >/dev/null

# The suites in test/ run the built program, which Go's cache of results knows nothing about, and watch the clock: one at a time.
echo "test: 3 of 5: tests in FIPS mode on"
bin/testbed exec -- env FIPSEXEC_MODE=on bash -euc '
	go test -exec "$0/hack/fipsexec" $(go list ./... | grep -v /sluice/test/)
	go test -exec "$0/hack/fipsexec" -count=1 -p 1 -timeout 20m ./test/...' "$root"

echo "test: 4 of 5: tests in FIPS mode only"
bin/testbed exec -- env FIPSEXEC_MODE=only go test -exec "$root/hack/fipsexec" \
	./internal/... ./policy/... ./compliance/... ./impersonation/... ./controllers/...
echo "test: 5 of 5: the OpenSSL twin of the cryptography seam"
if ! ldconfig -p 2>/dev/null | grep -q 'libcrypto\.so\.3' && [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
	apt-get install -y -q libssl3 >/dev/null
fi
go test -tags openssl ./internal/fips/...
echo "test: all passed"
