// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"errors"
	"sync"
)

// Parallel calls f with 0 to n-1, on so many workers, and returns the first error of each worker. It does all calls,
// whatever fails.
func Parallel(n, workers int, f func(i int) error) error {
	var group sync.WaitGroup
	next := make(chan int)
	failed := make([]error, workers)
	for w := range workers {
		group.Go(func() {
			for i := range next {
				if err := f(i); err != nil && failed[w] == nil {
					failed[w] = err
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	group.Wait()
	return errors.Join(failed...)
}
