// SPDX-License-Identifier: Apache-2.0

package fips

// Features is the policy table, one row for each use of cryptography that the module's mode on does not refuse by itself.
// It is a function so that nobody can change a row.
func Features() []FeatureRow {
	return []FeatureRow{
		{FeatureDigest, "digest off the list", "only SHA-2 and SHA-3 are approved", "use SHA-256, SHA-384 or SHA-512", Refuses},
		{FeatureMAC, "MAC off the list", "SP 800-131A wants keys of 112 bits or more", "use HMAC with SHA-2 and a key of at least 14 bytes", Refuses},
		{FeatureSignature, "signature off the list", "FIPS 186-5 lists ECDSA, RSA and EdDSA", "use ECDSA, RSA with at least 2048 bits, or Ed25519", Refuses},
		{FeatureEncryptedKey, "password-encrypted private key", "PEM encryption derives keys with MD5", "store the key unencrypted in a Secret, or use a KMS", Refuses},

		{ArtifactDigestSHA1, "SHA-1", "collisions are practical", "use sha256, sha384 or sha512", Refuses},
		{ArtifactDigestBLAKE3, "BLAKE3", "not approved, outside the module", "use sha256, sha384 or sha512", Refuses},

		{Age, "age (X25519, scrypt, ChaCha20-Poly1305)", "not approved, outside the module", "encrypt with SOPS and a KMS or Vault key", Tolerates},
		{AgeHybrid, "age with a post-quantum recipient", "the library retries for ever when the module refuses it (fips140=only)", "encrypt with SOPS and a KMS or Vault key", Refuses},
		{SOPSPGP, "SOPS with PGP", "computed outside the module", "encrypt with SOPS and a KMS or Vault key", Tolerates},
		{PGPSHA1, "OpenPGP signature with SHA-1", "collisions are practical", "sign again with SHA-256 or stronger", Refuses},
		{PGPDSA, "OpenPGP DSA", "FIPS 186-5 withdrew DSA", "use an RSA (2048 bits or more) or ECDSA key", Refuses},
		{PGPElGamal, "OpenPGP ElGamal", "not approved", "use an RSA (2048 bits or more) or ECDSA key", Refuses},
		{PGPShortRSA, "OpenPGP RSA below 2048 bits", "FIPS 186-5 wants 2048 bits or more", "use an RSA key of at least 2048 bits", Refuses},
		{PGPEd25519, "OpenPGP EdDSA", "approved algorithm, but computed by a library outside the module", "use an RSA or ECDSA key, or sign with SSH or sigstore", Tolerates},
		{PGPOther, "OpenPGP algorithm off the list", "neither approved nor in the module", "use an RSA or ECDSA key with SHA-256 or stronger", Refuses},

		{SSHKex, "SSH key exchange off the list", "not an approved key agreement", "let the server offer ecdh-sha2-nistp256, -nistp384 or -nistp521", Refuses},
		{SSHCipher, "SSH cipher off the list", "AES-GCM here takes its nonce from outside the module, the rest is not approved", "let the server offer aes256-ctr or aes128-ctr", Refuses},
		{SSHMAC, "SSH MAC off the list", "SHA-1 and MD5 MACs", "let the server offer hmac-sha2-256 or hmac-sha2-512", Refuses},
		{SSHHostKey, "SSH host key off the list", "DSA, and RSA with SHA-1", "use an ecdsa, ed25519 or rsa-sha2 host key", Refuses},
		{SSHKeyPassphrase, "passphrase-protected SSH key", "derives keys with MD5 or bcrypt", "store the key without passphrase in a Secret", Tolerates},
		{KnownHostsHashed, "hashed known_hosts entry (HMAC-SHA1)", "short MAC keys with SHA-1", "list the host by name: ssh-keyscan without -H", Refuses},

		{CosignEncryptedKey, "cosign encrypted key (scrypt, secretbox)", "not approved, outside the module", "use a KMS key or an unencrypted PKCS#8 key in a Secret", Refuses},
		{SprigWeakFunction, "weak template function", "MD5-, SHA-1-, bcrypt- or DSA-based, or encryption without a module", "use sha256sum, or keep secrets out of templates", Tolerates},
		{OPAWeakBuiltin, "weak policy built-in", "MD5 and SHA-1", "use crypto.sha256 or crypto.hmac.sha256", Refuses},
		{NexusReceiver, "HMAC-SHA1 webhook", "the sender offers no SHA-2", "use a receiver type with HMAC-SHA256", Tolerates},
	}
}

// SSH lists algorithm names of RFC 4253 in order of preference, as golang.org/x/crypto/ssh takes them.
type SSH struct {
	Kex      []string `json:"kex"`
	Ciphers  []string `json:"ciphers"`
	MACs     []string `json:"macs"`
	HostKeys []string `json:"hostKeys"`
}

// SSHAlgorithms is what an SSH client of Sluice offers, in both profiles. Key derivation of SSH is computed outside the
// module, which docs/fips.md says; prefer https and OCI.
func SSHAlgorithms() SSH {
	return SSH{
		Kex:      []string{"ecdh-sha2-nistp256", "ecdh-sha2-nistp384", "ecdh-sha2-nistp521"},
		Ciphers:  []string{"aes256-ctr", "aes128-ctr"},
		MACs:     []string{"hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com", "hmac-sha2-256", "hmac-sha2-512"},
		HostKeys: []string{"ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-ed25519", "rsa-sha2-512", "rsa-sha2-256"},
	}
}
