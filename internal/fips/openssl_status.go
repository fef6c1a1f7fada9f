// SPDX-License-Identifier: Apache-2.0

package fips

// provider is what OpenSSL's FIPS provider says about itself. known is false when there is none, or when the build has no
// way to ask (without cgo).
type provider struct {
	known    bool
	name     string
	version  string
	selfTest bool
}

// openSSLCertificate is the compiled-in table of OpenSSL FIPS providers with a current FIPS 140-3 certificate. The version
// is the provider's, not libcrypto's. A distribution's own build carries the distribution's certificate, if any, and is
// not on this list.
func openSSLCertificate(version string) string {
	if version == "3.1.2" {
		return "CMVP #4985"
	}
	return ""
}

// describeProvider says in words what may be claimed: nothing, unless the provider is loaded, is the default and reports a
// listed version. Even then the file must have been built as its security policy demands, which no program can see.
func describeProvider(libcrypto string, fipsDefault bool, p provider) Module {
	module := Module{
		Name:    "OpenSSL",
		Version: printable(libcrypto),
		Routed:  []string{"digests", "MACs", "random numbers", "ECDSA and RSA verification", "ECDSA and RSA signing"},
	}
	if p.known {
		module.Name, module.Version = printable(p.name), printable(p.version)
	}
	switch {
	case !fipsDefault:
		module.Status = "not a validated version: libcrypto runs without a FIPS provider as its default"
	case !p.known:
		module.Status = "not shown to be a validated version: a FIPS provider is the default, this build cannot ask for its version"
	case openSSLCertificate(p.version) == "":
		module.Status = "not a validated version: the FIPS provider is not on the list of certificates"
	default:
		module.Certificate = openSSLCertificate(p.version)
		module.Status = "version on the list (FIPS 140-3, " + module.Certificate +
			"), if the file was built as its security policy demands"
	}
	return module
}
