// SPDX-License-Identifier: Apache-2.0

// Package ports finds ports for servers that are told where to listen.
package ports

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
)

// The range lies below the one that Linux takes the ports of outgoing connections from (32768 and up): such a connection could have
// the port by the time that the server starts.
const (
	first = 20000
	last  = 32000
	tries = 100
)

// FreeAddress returns 127.0.0.1 with a port that nobody listens on now.
func FreeAddress() (string, error) {
	port, err := Free()
	return address(port), err
}

// Free returns a port on 127.0.0.1 that nobody listens on now.
func Free() (int, error) {
	var failed error
	for range tries {
		port := first + rand.IntN(last-first)
		l, err := new(net.ListenConfig).Listen(context.Background(), "tcp4", address(port))
		if err == nil {
			return port, l.Close()
		}
		failed = err
	}
	return 0, errors.Join(errors.New("no free port found"), failed)
}

func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
