// SPDX-License-Identifier: Apache-2.0

package proc

import (
	"sync"
	"time"
)

// samplePause is short enough to see the peak of an unpacking that takes a second.
const samplePause = 50 * time.Millisecond

// Sampler finds the peak of anonymous memory, for which the kernel keeps no mark.
type Sampler struct {
	mu    sync.Mutex
	peaks map[int]float64
	stop  chan struct{}
	done  chan struct{}
}

// NewSampler starts sampling. Close it.
func NewSampler() *Sampler {
	s := &Sampler{peaks: map[int]float64{}, stop: make(chan struct{}), done: make(chan struct{})}
	go s.run()
	return s
}

func (s *Sampler) run() {
	defer close(s.done)
	ticker := time.NewTicker(samplePause)
	defer ticker.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-ticker.C:
			s.sample()
		}
	}
}

func (s *Sampler) sample() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for pid, peak := range s.peaks {
		s.peaks[pid] = max(peak, ReadMemory(pid).Anonymous)
	}
}

// Reset starts the peak of a process again from what it holds now.
func (s *Sampler) Reset(pid int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.peaks[pid] = ReadMemory(pid).Anonymous
}

// Peak returns the highest anonymous memory of a process since Reset, in MiB.
func (s *Sampler) Peak(pid int) float64 {
	s.sample()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.peaks[pid]
}

// Forget ends the sampling of a process.
func (s *Sampler) Forget(pid int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.peaks, pid)
}

// Close ends all sampling.
func (s *Sampler) Close() {
	close(s.stop)
	<-s.done
}
