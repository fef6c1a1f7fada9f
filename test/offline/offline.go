// SPDX-License-Identifier: Apache-2.0

// Package offline proves that a piece of code reaches nothing beyond the machine: it runs a test once more in a network namespace of its
// own, where there is loopback and nothing else, and looks at what the kernel had no route for.
package offline

import (
	"encoding/binary"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"sluice.dev/sluice/test/unshare"
)

// Run runs a test where it can reach loopback alone, and fails if it has tried to reach more. It is called once by a test that does
// nothing else. Without root it needs user namespaces.
func Run(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	inside, err := unshare.Again(t, syscall.CLONE_NEWNET)
	if err != nil {
		t.Fatal(err)
	}
	if !inside {
		return
	}
	loopback(t)
	before := unreachable(t)
	test(t)
	if after := unreachable(t); after != before {
		t.Errorf("%d attempts to reach something beyond loopback", after-before)
	}
	before = unreachable(t)
	if conn, err := net.DialTimeout("tcp", "192.0.2.1:443", time.Second); err == nil {
		_ = conn.Close()
		t.Error("this is no namespace of its own: 192.0.2.1 answers")
	}
	if unreachable(t) == before {
		t.Error("an attempt that was made is not counted, so nothing is proven")
	}
}

// loopback brings the one interface up.
func loopback(t *testing.T) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd) //nolint:errcheck // nothing was written
	var request [40]byte    // struct ifreq
	copy(request[:], "lo")
	binary.NativeEndian.PutUint16(request[16:], syscall.IFF_UP|syscall.IFF_RUNNING)
	if _, _, no := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), syscall.SIOCSIFFLAGS, uintptr(unsafe.Pointer(&request[0]))); no != 0 {
		t.Fatalf("bring loopback up: %v", no)
	}
}

// unreachable counts the packets and connections for which there was no route.
func unreachable(t *testing.T) int {
	t.Helper()
	data, err := os.ReadFile("/proc/net/snmp")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for line := range strings.SplitSeq(string(data), "\n") {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] != "Ip:" {
			continue
		}
		if names == nil {
			names = fields
			continue
		}
		for i, name := range names {
			if name == "OutNoRoutes" {
				n, err := strconv.Atoi(fields[i])
				if err != nil {
					t.Fatal(err)
				}
				return n + unreachable6(t)
			}
		}
	}
	t.Fatal("the kernel does not count what it has no route for")
	return 0
}

// unreachable6 is the same for IPv6, which a kernel may lack.
func unreachable6(t *testing.T) int {
	t.Helper()
	data, err := os.ReadFile("/proc/net/snmp6")
	if err != nil {
		return 0
	}
	for line := range strings.SplitSeq(string(data), "\n") {
		if fields := strings.Fields(line); len(fields) == 2 && fields[0] == "Ip6OutNoRoutes" {
			n, err := strconv.Atoi(fields[1])
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	return 0
}
