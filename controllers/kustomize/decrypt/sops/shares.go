// SPDX-License-Identifier: Apache-2.0

package sops

import "errors"

// Combine puts a data key together from the shares of several key groups: Shamir's scheme over GF(2^8), byte by byte. The
// last byte of a share is its place on the curve. Too few shares give a wrong key, which no value decrypts with.
func Combine(shares [][]byte) ([]byte, error) {
	if len(shares) < 2 {
		return nil, errors.New("a shared data key needs two shares or more")
	}
	size := len(shares[0]) - 1
	seen := map[byte]bool{0: true} // zero is where the secret is
	for _, share := range shares {
		if size < 1 || len(share) != size+1 || seen[share[size]] {
			return nil, errors.New("the shares of the data key do not fit together")
		}
		seen[share[size]] = true
	}
	secret := make([]byte, size)
	for i, share := range shares {
		weight := weightAtZero(shares, i)
		for n := range secret {
			secret[n] ^= multiply(share[n], weight)
		}
	}
	return secret, nil
}

// weightAtZero is the Lagrange polynomial of a share, evaluated where the secret is.
func weightAtZero(shares [][]byte, of int) byte {
	last := len(shares[0]) - 1
	own, weight := shares[of][last], byte(1)
	for i, share := range shares {
		if i != of {
			weight = multiply(weight, multiply(share[last], invert(share[last]^own)))
		}
	}
	return weight
}

// multiply is the product in the field of AES. It takes the same time for all operands.
func multiply(a, b byte) byte {
	var product byte
	for range 8 {
		product ^= -(b & 1) & a
		a = a<<1 ^ -(a>>7)&0x1b
		b >>= 1
	}
	return product
}

// invert is a to the power of 254, which times a is one.
func invert(a byte) byte {
	power, result := a, byte(1)
	for range 7 {
		power = multiply(power, power)
		result = multiply(result, power)
	}
	return result
}
