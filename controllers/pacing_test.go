// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"net/http"
	"net/http/httptest"
	"testing"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	"k8s.io/client-go/rest"
)

func TestPaced(t *testing.T) {
	tests := map[string]struct {
		header string
		want   float32
	}{
		"a server with priority and fairness needs no limit of ours": {header: "f00", want: -1},
		"a server without it gets the operator's":                    {want: 50},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if tc.header != "" {
					w.Header().Set(flowcontrolv1.ResponseHeaderMatchedFlowSchemaUID, tc.header)
				}
			}))
			defer server.Close()
			given := &rest.Config{Host: server.URL}
			got, err := paced(t.Context(), given, KubeConfig{QPS: 50, Burst: 300})
			if err != nil {
				t.Fatal(err)
			}
			if got.QPS != tc.want || given.QPS != 0 {
				t.Errorf("QPS %v, want %v, and the caller's is %v", got.QPS, tc.want, given.QPS)
			}
		})
	}
}

func TestPacedWithoutServer(t *testing.T) {
	if _, err := paced(t.Context(), &rest.Config{Host: "http://127.0.0.1:1"}, KubeConfig{}); err == nil {
		t.Error("nobody answered, and no error")
	}
}
