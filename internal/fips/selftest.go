// SPDX-License-Identifier: Apache-2.0

package fips

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
)

// selfTest runs one known answer through each service of a backend: a digest and a MAC must come out as published, a
// published signature must hold, and the same one over another message must not.
func selfTest(ctx context.Context, b Backend) error {
	for _, step := range []struct {
		name string
		run  func(Backend) error
	}{
		{"digests", testDigests},
		{"MAC", testMAC},
		{"signature", testSignature},
		{"random numbers", testRandom},
	} {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := step.run(b); err != nil {
			return fmt.Errorf("self-test of %s: %w", step.name, err)
		}
	}
	return nil
}

// testDigests uses the one-block message of FIPS 180-4 and FIPS 202.
func testDigests(b Backend) error {
	for _, answer := range []struct {
		hash crypto.Hash
		want string
	}{
		{crypto.SHA256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
		{crypto.SHA384, "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7"},
		{crypto.SHA512, "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a" +
			"2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"},
	} {
		sum, err := Sum(b, answer.hash, []byte("abc"))
		if err != nil {
			return err
		}
		if hex.EncodeToString(sum) != answer.want {
			return fmt.Errorf("%s gave a wrong answer", answer.hash)
		}
	}
	return nil
}

// testMAC uses test case 1 of RFC 4231.
func testMAC(b Backend) error {
	const want = "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
	mac, err := b.HMAC(crypto.SHA256, bytes.Repeat([]byte{0x0b}, 20))
	if err != nil {
		return err
	}
	if _, err := io.WriteString(mac, "Hi There"); err != nil {
		return err
	}
	if hex.EncodeToString(mac.Sum(nil)) != want {
		return errors.New("HMAC-SHA-256 gave a wrong answer")
	}
	return nil
}

// The P-256, SHA-256 example of RFC 6979, A.2.5: message, public point (x, y) and signature (r, s).
const (
	exampleMessage = "sample"
	examplePoint   = "04" +
		"60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6" +
		"7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299"
	exampleSignature = "3046" +
		"022100" + "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716" +
		"022100" + "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8"
)

func testSignature(b Backend) error {
	point, err := hex.DecodeString(examplePoint)
	if err != nil {
		return err
	}
	sig, err := hex.DecodeString(exampleSignature)
	if err != nil {
		return err
	}
	pub, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		return err
	}
	if err := b.Verify(ECDSAP256SHA256, pub, strings.NewReader(exampleMessage), sig); err != nil {
		return err
	}
	err = b.Verify(ECDSAP256SHA256, pub, strings.NewReader(exampleMessage+"d"), sig)
	if !errors.Is(err, ErrSignature) {
		return errors.New("a signature of another message was not refused")
	}
	return nil
}

// testRandom cannot know an answer; two equal 256-bit outputs mean a broken source.
func testRandom(b Backend) error {
	var first, second [32]byte
	for _, buffer := range [][]byte{first[:], second[:]} {
		if _, err := io.ReadFull(b.Rand(), buffer); err != nil {
			return err
		}
	}
	if first == second || first == [32]byte{} {
		return errors.New("the source repeats itself")
	}
	return nil
}
