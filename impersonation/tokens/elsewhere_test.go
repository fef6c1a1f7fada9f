// SPDX-License-Identifier: Apache-2.0

package tokens

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"

	"sluice.dev/sluice/impersonation/internal/seal"
)

// authorize returns the token of a request.
func authorize(t *testing.T, e *Elsewhere) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://spoke.example/", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Authorize(req); err != nil {
		t.Fatal(err)
	}
	value, ok := strings.CutPrefix(req.Header.Get("Authorization"), "Bearer ")
	if !ok {
		t.Fatalf("header %v", req.Header)
	}
	return value
}

func TestTokensForElsewhere(t *testing.T) {
	b := newBed(t)
	broker := b.broker(t, nil)
	id := identity(t, b.a, "deploy")
	e := broker.Elsewhere(seal.Key{}, id, []string{"spoke", "spoke-too"})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://spoke.example/", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	own := broker.Elsewhere(seal.Key{}, id, []string{"https://kubernetes.default.svc.cluster.local"})
	if err := own.Authorize(req); err == nil || req.Header.Get("Authorization") != "" {
		t.Errorf("an audience of the API server's own, before anybody has asked it: %v", err)
	}
	first := authorize(t, e)
	for audience, want := range map[string]bool{"spoke": true, "": false} {
		review := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: first}}
		if audience != "" {
			review.Spec.Audiences = []string{audience}
		}
		if err := b.admin.Create(t.Context(), review); err != nil {
			t.Fatal(err)
		}
		if got := review.Status.Authenticated; got != want || want && review.Status.User.Username != id.String() {
			t.Errorf("for audience %q: %v as %q", audience, got, review.Status.User.Username)
		}
	}
	if authorize(t, e) != first {
		t.Error("a token was not used again")
	}
	e.Refused()
	if authorize(t, e) != first {
		t.Error("a new token was replaced since the server did not accept it")
	}
	b.clock.advance(remintAfter)
	e.Refused()
	second := authorize(t, e)
	if second == first {
		t.Error("a refused token was used again")
	}
	b.clock.advance(9 * time.Minute)
	if authorize(t, e) == second {
		t.Error("a token was not renewed at 80 percent of its lifetime")
	}

	home := *broker.minter.home.Load()
	if len(home) == 0 || slices.Contains(home, "spoke") {
		t.Fatalf("the API server's own audiences are %q", home)
	}
	err = broker.Elsewhere(seal.Key{}, id, append([]string{"spoke"}, home...)).Authorize(req)
	wantDenied(t, err, "this cluster's own")
}

func TestAudienceToken(t *testing.T) {
	b := newBed(t)
	broker := b.broker(t, nil)
	id := identity(t, b.a, "deploy")
	open(t, broker, id)
	get := func() string {
		t.Helper()
		value, until, err := broker.AudienceToken(t.Context(), id, "https://vault.example", "spec.some.field")
		if err != nil || !until.After(b.clock.now()) {
			t.Fatalf("until %s: %v", until, err)
		}
		return value
	}
	first := get()
	review := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: first, Audiences: []string{"https://vault.example"}}}
	if err := b.admin.Create(t.Context(), review); err != nil {
		t.Fatal(err)
	}
	if !review.Status.Authenticated || review.Status.User.Username != id.String() {
		t.Errorf("it is of %q: %s", review.Status.User.Username, review.Status.Error)
	}
	if get() != first {
		t.Error("a token was not used again")
	}
	b.clock.advance(remintAfter)
	broker.AudienceTokenRefused(id, "https://vault.example")
	if get() == first {
		t.Error("a refused token was used again")
	}
	home := *broker.minter.home.Load()
	_, _, err := broker.AudienceToken(t.Context(), id, home[0], "f")
	wantDenied(t, err, "this cluster's own")
	if _, _, err = broker.AudienceToken(t.Context(), id, "", "f"); err == nil {
		t.Error("a token for no audience was made")
	}
	_, _, err = broker.AudienceToken(t.Context(), identity(t, b.a, "ghost"), "https://vault.example", "spec.some.field")
	wantDenied(t, err, "spec.some.field")
}
