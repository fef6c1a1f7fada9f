// SPDX-License-Identifier: Apache-2.0

// Package unwrap opens the data key of an encrypted file with one of the keys it was encrypted to: Vault or OpenBao transit,
// AWS KMS, Azure Key Vault, Google Cloud KMS, age, PGP (spec row K-17). The keys and credentials are those of a decryption
// Secret, given as data; for what it lacks, an Account logs in, with tokens of a ServiceAccount that are good at one service each.
//
// Clouds are spoken to by internal/cloud, Vaults over internal/transport in a few HTTP calls: their SDKs bring dozens of
// cryptographic packages and read credentials from the environment, which here would be the controller's own. A credential goes to
// its cloud's own hosts alone; the token of a Vault goes where the file says, or only to the address beside it in the Secret.
//
// age and PGP compute outside the cryptographic module: they are refused in the strict FIPS profile, each by name, and tried
// last in the other.
//
// No error holds a credential, a data key, or text that a service sent.
package unwrap
