// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"cmp"
	"crypto/tls"
	"net/http"
	"time"
)

// ServerOptions configures a server. The zero value serves plain HTTP with the defaults below.
type ServerOptions struct {
	// Addr is what ListenAndServe listens on.
	Addr string
	// TLS comes from ServerTLS; ServeTLS needs it.
	TLS *tls.Config
	// ReadTimeout bounds a whole request. Zero means 60 s.
	ReadTimeout time.Duration
	// WriteTimeout bounds a whole response. Zero means 5 min, enough for a large artifact on a slow link.
	WriteTimeout time.Duration
}

// NewServer returns a server whose every phase is bounded, so that slow clients cannot pile up connections.
func NewServer(handler http.Handler, o ServerOptions) *http.Server {
	return &http.Server{
		Addr:              o.Addr,
		Handler:           onceInACrowd(handler),
		ConnContext:       noteCrowd,
		TLSConfig:         o.TLS,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       cmp.Or(o.ReadTimeout, time.Minute),
		WriteTimeout:      cmp.Or(o.WriteTimeout, 5*time.Minute),
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
	}
}
