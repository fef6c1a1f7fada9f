// SPDX-License-Identifier: Apache-2.0

package impersonation_test

import (
	"testing"

	"sluice.dev/sluice/impersonation"
	"sluice.dev/sluice/impersonation/internal/seal"
)

func TestCallerIsNoServiceAccount(t *testing.T) {
	caller := impersonation.Caller(seal.Key{}, "system:serviceaccount:a:deploy")
	if !caller.Valid() || caller.String() != "system:serviceaccount:a:deploy" {
		t.Errorf("caller %v, valid %v", caller, caller.Valid())
	}
	account, err := impersonation.Resolve(object{"a", "deploy"}, lockdown())
	if err != nil {
		t.Fatal(err)
	}
	if caller == account || caller.Namespace() != "" || caller.ServiceAccount() != "" {
		t.Errorf("a person passes for the ServiceAccount %q in namespace %q", caller.ServiceAccount(), caller.Namespace())
	}
	if nobody := impersonation.Caller(seal.Key{}, ""); nobody.Valid() {
		t.Error("a person without a name is somebody")
	}
}
