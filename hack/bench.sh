#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Called by `make bench`, after the build: plays the ceiling and SCENARIOS (ks and source) with our manager, and with the reference
# that REFERENCE names (a file like test/bench/reference.example.json), and prints the tables. About five minutes for each on a
# quiet machine. N is the number of Kustomizations, RUNS how often each is played, LIMIT how long one scenario may take, all runs
# of it included, READY_AFTER how long a pod of scenario wait takes to be Ready.
# Records, logs and tables stay in dist/bench.
set -euo pipefail
cd "$(dirname "$0")/.."

n=${N:-100}
runs=${RUNS:-1}
limit=${LIMIT:-4m}
scenarios=${SCENARIOS:-ks source}
out=dist/bench
ours=test/bench/sluice.json

echo "bench: building the harness and the servers of the test bed (minutes where nothing is cached)" >&2
mkdir -p "$out"
CGO_ENABLED=0 GOFIPS140=v1.0.0 go build -o "$out/" ./test/bench/cmd/...
(cd hack/testbed && CGO_ENABLED=0 GOFIPS140=off GOWORK=off go run ./cmd/testbed build plane >/dev/null)

session="$out/$(date -u +%Y%m%d-%H%M%S)"
play() {
	scenario=$1
	shift
	"$out/bench" "$scenario" --out "$session" -n "$n" --limit "$limit" "$@"
}

# The ceiling has six times as many objects, and tells about the machine, not about how many Kustomizations there are.
play ceiling --config "$ours" -n "$((n < 100 ? n : 100))"
delay=(--ready-after "${READY_AFTER:-0s}")
[[ " $scenarios " != *" wait "* ]] || play rollout --config "$ours" --runs "$runs" "${delay[@]}"
for config in "$ours" ${REFERENCE:+"$REFERENCE"}; do
	for scenario in $scenarios; do
		late=()
		[ "$scenario" != wait ] || late=("${delay[@]}")
		play "$scenario" --config "$config" --runs "$runs" "${late[@]}"
	done
done

"$out/bench" report "$session"/*.json | tee "$session/report.md"
if [ -n "${REFERENCE:-}" ]; then
	name=$(sed -n 's/^ *"name": *"\([^"]*\)".*/\1/p' "$REFERENCE" | head -n 1)
	"$out/bench" compare "$name" sluice "$session"/*.json | tee -a "$session/report.md"
fi
echo "bench: everything is in $session" >&2
