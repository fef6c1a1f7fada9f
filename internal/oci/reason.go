// SPDX-License-Identifier: Apache-2.0

package oci

// Condition reasons in Flux's vocabulary (spec row S-10). A test holds them against the constants of source-controller's
// API, which this package does not import: the air-gap tools use it without Kubernetes.
const (
	reasonURLInvalid     = "URLInvalid"
	reasonAuthentication = "AuthenticationFailed"
	reasonRead           = "ReadOperationFailed"
	reasonPull           = "OCIArtifactPullFailed"
	reasonLayer          = "OCIArtifactLayerOperationFailed"
)
