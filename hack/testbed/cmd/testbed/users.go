// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"os"
	"time"

	"sluice.dev/sluice/hack/testbed/internal/folder"
)

// linger is how long a shared plane waits for the next user: `go test` needs a moment between two packages.
const linger = 15 * time.Second

// endWithParent cancels when the process that started this one is gone, as a shell or `go run` does that is killed
// without a chance to pass the signal on.
func endWithParent(ctx context.Context, cancel context.CancelFunc, parent int) {
	endWhen(ctx, cancel, 500*time.Millisecond, func() bool { return os.Getppid() != parent })
}

// endWithUsers cancels when nobody has held a shared lock on the file for a while. The kernel releases the lock of a
// process however it ends. It retracts the plane before it lets the next user have the lock, so that nobody finds one
// which is about to stop.
func endWithUsers(ctx context.Context, cancel context.CancelFunc, file string, retract func()) {
	last := time.Now()
	endWhen(ctx, cancel, time.Second, func() bool {
		lock, err := folder.TryLock(file)
		if err != nil {
			last = time.Now()
			return false
		}
		defer lock.Release()
		over := time.Since(last) > linger
		if over {
			retract()
		}
		return over
	})
}

func endWhen(ctx context.Context, cancel context.CancelFunc, every time.Duration, over func() bool) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if over() {
				cancel()
				return
			}
		}
	}
}
