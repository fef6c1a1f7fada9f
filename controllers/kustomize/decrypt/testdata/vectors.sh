#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Makes the test vectors with SOPS itself, and keys that are good for nothing else:
#
#   GOBIN=/tmp/bin go install github.com/getsops/sops/v3/cmd/sops@v3.13.2
#   GOBIN=/tmp/bin go install filippo.io/age/cmd/age-keygen@v1.3.2
#   PATH=/tmp/bin:$PATH ./vectors.sh
#
# enc/ is what sops has encrypted, want/ what it decrypts that to, kube/ are files for tests of whole builds. gpg must be there too.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
rm -rf enc want kube
mkdir enc want kube

for name in alice bob; do
	[ -f $name.agekey ] || age-keygen -o $name.agekey 2>/dev/null
done
alice=$(age-keygen -y alice.agekey)
bob=$(age-keygen -y bob.agekey)
cat alice.agekey bob.agekey >"$work/keys"
export SOPS_AGE_KEY_FILE="$work/keys" GNUPGHOME="$work/gpg"

mkdir -m 700 "$GNUPGHOME"
if [ -f carol.asc ]; then
	gpg --batch --quiet --import carol.asc
else
	gpg --batch --quiet --passphrase '' --quick-generate-key 'Carol <carol@example.invalid>' rsa2048 sign 0
	first=$(gpg --batch --with-colons --list-keys carol | awk -F: '/^fpr/ {print $10; exit}')
	gpg --batch --quiet --passphrase '' --quick-add-key "$first" rsa2048 encr 0
	gpg --batch --armor --export-secret-keys carol >carol.asc
fi
carol=$(gpg --batch --with-colons --list-keys carol | awk -F: '/^fpr/ {print $10; exit}')

# encrypt NAME OPTIONS...: from standard input to enc/NAME, and from there to want/NAME.
encrypt() {
	name=$1
	shift
	cat >"$work/$name"
	sops encrypt "$@" --output "enc/$name" "$work/$name"
	sops decrypt --output "want/$name" "enc/$name"
}

typed() {
	cat <<'EOF'
# what stands above everything

# and above the first key
text: a plain text # beside a value
empty: ""
nothing: null
number: 42
large: 9007199254740993
float: 0.5
whole: 3.0
exponent: 1e+21
yes: true
no: false
looks_like_a_number: "12"
looks_like_a_bool: "true"
date: 2001-12-14T21:59:43Z
multi: |
  first line
    second line # no comment

  last line
folded: "a: b, 'c' \"d\" \\ \t é 日本 \U0001F511"
clear_unencrypted: {stays: readable, list: [1, two, 3.5]}
nested:
  # above a nested key
  deeper:
    deepest: value
    # below the last key
  list:
    - one
    - {two: 2, three: [a, b, {c: d}]}
    - []
    - {}
    - # above a value
      four: 4
# at the end
EOF
}

typed | encrypt typed.yaml --age "$alice"
typed | encrypt suffix.yaml --age "$alice" --unencrypted-suffix _unencrypted
{ printf 'a: first document\n# between\n---\n'; typed; printf -- '---\nz: last\n'; } | encrypt documents.yaml --age "$alice"

encrypt typed.json --age "$alice" <<'EOF'
{"text": "a <plain> & 'text'", "empty": "", "nothing": null, "number": 42, "large": 9007199254740993, "float": 0.5, "whole": 3.0,
 "exponent": 1e21, "yes": true, "no": false, "unicode": "\u00e9 \ud83d\udd11 \u2028 \/ \t", "clear_unencrypted": {"stays": "readable", "list": [1, "two", 3.5]},
 "nested": {"deeper": {"deepest": "value"}, "list": ["one", {"two": 2, "three": ["a", "b", {"c": "d"}]}, [], {}, [[1], [2]]]}}
EOF

encrypt app.env --age "$alice" <<'EOF'
# a comment
USER=admin
PASSWORD="quoted = and # all"
EMPTY=
CLEAR_unencrypted=readable

LINES=one\ntwo
# the last line
EOF

encrypt app.ini --age "$alice" <<'EOF'
; above a section
[database]
; above a key
user = admin
password = "a ; b # c"
port=5432
[longer names.and more]
key with spaces = value
clear_unencrypted = readable
empty =
url = https://user:pw@host/?a=b
EOF

printf 'any \001\377 bytes\n"mac": no\n' | encrypt blob.bin --age "$alice" --input-type binary --output-type json
printf '{"auths":{"registry.example":{"auth":"dTpw"}}}\n' | encrypt pull.json --age "$alice"
printf 'password: shared\n' | encrypt everybody.yaml --age "$bob,$alice" --pgp "$carol"
printf 'password: by gpg\n' | encrypt pgp.yaml --pgp "$carol"
printf 'PASSWORD=by gpg\n' | encrypt pgp.env --pgp "$carol"


cat >"$work/sops.yaml" <<EOF
creation_rules:
  - {path_regex: maconly, age: "$alice", encrypted_regex: '^(text|nested)$', mac_only_encrypted: true}
  - {path_regex: comment-on, age: "$alice", encrypted_comment_regex: 'above (a nested|the first)'}
  - {path_regex: comment-off, age: "$alice", unencrypted_comment_regex: 'above (a nested|the first)'}
  - path_regex: shared
    shamir_threshold: 2
    key_groups:
      - age: ["$alice"]
      - age: ["$bob"]
      - pgp: ["$carol"]
EOF
export SOPS_CONFIG="$work/sops.yaml"
typed | encrypt maconly.yaml
typed | encrypt comment-on.yaml
typed | encrypt comment-off.yaml
printf 'password: in parts\n' | encrypt shared.yaml
printf 'PASSWORD=in parts\n' | encrypt shared.env
unset SOPS_CONFIG

# kube NAME OPTIONS...: from standard input to kube/NAME.
kube() {
	name=$1
	shift
	cat >"$work/$name"
	sops encrypt "$@" --age "$alice" --output "kube/$name" "$work/$name"
}

secret() {
	cat <<EOF
apiVersion: v1
kind: Secret
metadata:
  name: database
  labels: {app: shop}
stringData:
  user: shop-user
  password: $1
type: Opaque
EOF
}

secret plaintext-one-4711 | kube secret.yaml --encrypted-regex '^(data|stringData)$'
cp kube/secret.yaml kube/secret-next.yaml
sops set kube/secret-next.yaml '["stringData"]["password"]' '"plaintext-two-4711"'
{ secret plaintext-one-4711; printf -- '---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {mode: plaintext-mode-4711}\n'; } |
	kube documents.yaml --encrypted-regex '^(data|stringData)$'
printf 'apiVersion: v1\nkind: Secret\nmetadata: {name: database}\nstringData: {password: plaintext-patched-4711}\n' | kube patch.yaml --encrypted-regex '^stringData$'
printf 'API_KEY=plaintext-env-4711\nREGION=here\n' | kube app.env
printf '{"token": "plaintext-json-4711"}\n' | kube config.json
printf 'plaintext-binary-4711' | kube token.bin --input-type binary --output-type json
printf 'apiVersion: v1\nkind: Secret\nmetadata: {name: broken}\nstringData: {a: ["plaintext-broken-4711"]}\n' | kube broken-patch.yaml --encrypted-regex '^stringData$'
printf 'apiVersion: v1\nkind: Secret\nmetadata: {name: variable}\nstringData: {a: "plaintext-${4711}-${secret_4711}"}\n' | kube variable.yaml --encrypted-regex '^stringData$'
