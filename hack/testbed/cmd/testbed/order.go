// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"sluice.dev/sluice/hack/testbed/internal/plane"
)

// What a bed with a control socket does when asked. One without does none of it: others may be using it.
const (
	stopAPIServer  = "stop-apiserver"
	startAPIServer = "start-apiserver"
	compactEtcd    = "compact"
)

const (
	// longestLine bounds an order and its answer.
	longestLine = 16 << 10
	// obeyTimeout is above what the bed itself allows for the slowest order.
	obeyTimeout = 6 * time.Minute
	// done is the answer to an order that was carried out; any other answer tells what went wrong.
	done = "done"
)

// order has a running bed do something, and returns when it is done.
func order(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("order", flag.ContinueOnError)
	socket := flags.String("control", "", "control socket of the bed, as given to up")
	if err := flags.Parse(args); err != nil {
		return err
	}
	orders := []string{stopAPIServer, startAPIServer, compactEtcd}
	if *socket == "" || flags.NArg() != 1 || !slices.Contains(orders, flags.Arg(0)) {
		return fmt.Errorf("order needs a socket and one of %s: testbed order --control SOCKET %s", strings.Join(orders, ", "), compactEtcd)
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", *socket)
	if err != nil {
		return fmt.Errorf("reach the bed (was it started with --control?): %w", err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	if _, err := fmt.Fprintln(conn, flags.Arg(0)); err != nil {
		return err
	}
	answer, err := line(conn)
	if err != nil {
		return fmt.Errorf("%s: %w", flags.Arg(0), err)
	}
	if answer != done {
		return fmt.Errorf("%s: %s", flags.Arg(0), answer)
	}
	return nil
}

// line reads one, without its end.
func line(r io.Reader) (string, error) {
	text, err := bufio.NewReader(io.LimitReader(r, longestLine)).ReadString('\n')
	return strings.TrimSuffix(text, "\n"), err
}

// obey takes orders from the socket, one after the other, until ctx ends. Only the user who runs the bed can reach it.
func obey(ctx context.Context, socket string, p *plane.Plane) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", socket)
	if err != nil {
		return fmt.Errorf("listen for orders: %w", err)
	}
	if err := os.Chmod(socket, 0o600); err != nil {
		return errors.Join(err, listener.Close())
	}
	context.AfterFunc(ctx, func() { _ = listener.Close() }) // deletes the socket, too
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // closed
			}
			answer(ctx, conn, p)
		}
	}()
	return nil
}

func answer(ctx context.Context, conn net.Conn, p *plane.Plane) {
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, obeyTimeout)
	defer cancel()
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second)) // who says nothing must not keep others waiting
	text, err := line(conn)
	if err != nil {
		return
	}
	said := done
	if err := carryOut(ctx, text, p); err != nil {
		said = strings.ReplaceAll(err.Error(), "\n", " ")
	}
	_, _ = fmt.Fprintf(conn, "%.*s\n", longestLine-1, said) // who is gone does not want to know
}

func carryOut(ctx context.Context, text string, p *plane.Plane) error {
	switch text {
	case stopAPIServer:
		return p.StopAPIServer()
	case startAPIServer:
		return p.StartAPIServer(ctx)
	case compactEtcd:
		return p.Compact(ctx)
	default:
		return fmt.Errorf("there is no order %q", text)
	}
}
