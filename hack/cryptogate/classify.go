// SPDX-License-Identifier: Apache-2.0

package main

import (
	"slices"
	"strings"
)

// ownModule is excluded: our packages are reviewed as code, and reach algorithms only through others, which are listed.
const ownModule = "sluice.dev/sluice/"

// isCrypto reports whether a package has to have an entry in the policy. It errs on the side of asking: a package that only
// sounds like cryptography gets a line "nonsecurity".
func isCrypto(pkg string) bool {
	switch {
	case strings.HasPrefix(pkg, ownModule):
		return false
	case pkg == "crypto", strings.HasPrefix(pkg, "crypto/"), strings.HasPrefix(pkg, "vendor/golang.org/x/crypto/"):
		return true
	case !strings.Contains(first(pkg), "."):
		return false // the rest of the standard library
	}
	return slices.ContainsFunc(knownPrefixes(), func(prefix string) bool {
		return pkg == prefix || strings.HasPrefix(pkg, prefix+"/")
	}) || soundsCryptographic(pkg)
}

func first(pkg string) string {
	host, _, _ := strings.Cut(pkg, "/")
	return host
}

// knownPrefixes are third-party modules that bring cryptography, or whose only purpose is to use it.
func knownPrefixes() []string {
	return []string{
		"filippo.io",
		"github.com/ProtonMail/go-crypto",
		"github.com/cloudflare/circl",
		"github.com/decred/dcrd",
		"github.com/go-jose/go-jose",
		"github.com/golang-jwt/jwt",
		"github.com/hiddeco/sshsig",
		"github.com/in-toto/in-toto-golang",
		"github.com/keybase/go-crypto",
		"github.com/kevinburke/ssh_config",
		"github.com/lestrrat-go/jwx",
		"github.com/microsoft/go-crypto-openssl",
		"github.com/minio/md5-simd",
		"github.com/minio/sha256-simd",
		"github.com/notaryproject",
		"github.com/pjbgf/sha1cd",
		"github.com/secure-systems-lab/go-securesystemslib",
		"github.com/sigstore",
		"github.com/skeema/knownhosts",
		"github.com/theupdateframework/go-tuf",
		"github.com/transparency-dev",
		"github.com/xanzy/ssh-agent",
		"github.com/youmark/pkcs8",
		"github.com/zeebo/blake3",
		"golang.org/x/crypto",
		"lukechampine.com/blake3",
		"software.sslmate.com/src/go-pkcs12",
	}
}

// soundsCryptographic is the net for modules nobody has thought of: it looks at the path only.
func soundsCryptographic(pkg string) bool {
	lower := strings.ToLower(pkg)
	for _, part := range []string{
		"crypt", "cipher", "hash", "25519", "448", "sha1", "sha2", "sha3", "sha5", "md5", "blake2", "blake3", "chacha", "poly1305",
		"secp256", "ecdsa", "hmac", "pkcs", "openpgp", "signature", "signing", "sigstore", "cosign", "x509", "keyring",
		"mlkem", "mldsa", "dilithium", "kyber", "openssl", "boring",
	} {
		if strings.Contains(lower, part) {
			return true
		}
	}
	words := strings.FieldsFunc(lower, func(r rune) bool { return strings.ContainsRune("/.-_", r) })
	return slices.ContainsFunc(words, func(word string) bool {
		return slices.Contains([]string{
			"aes", "age", "bip32", "des", "dsa", "dsse", "fips", "gpg", "hkdf", "hpke", "jose", "jwe", "jwk", "jws", "jwt", "kdf", "kem",
			"kms", "md4", "nacl", "otp", "pgp", "prng", "rand", "rc4", "rsa", "sha", "sign", "signer", "sm2", "sm3", "sm4", "ssh", "tls",
			"totp", "xchacha",
		}, word)
	})
}
