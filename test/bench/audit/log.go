// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// drainPause is how often the log is read.
const drainPause = 250 * time.Millisecond

// Log follows an audit log and keeps its tally.
type Log struct {
	mu    sync.Mutex
	tally *Tally
	file  *os.File
	in    *bufio.Reader
	part  []byte
	err   error
	stop  chan struct{}
	done  chan struct{}
}

// Follow reads the log from where it ends now. Close it.
func Follow(path string, owners Owners) (*Log, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("audit log: %w", err)
	}
	if _, err := file.Seek(0, io.SeekEnd); err != nil {
		return nil, fmt.Errorf("audit log: %w", errors.Join(err, file.Close()))
	}
	l := &Log{tally: NewTally(owners), file: file, in: bufio.NewReaderSize(file, 1<<20), stop: make(chan struct{}), done: make(chan struct{})}
	go l.run()
	return l, nil
}

func (l *Log) run() {
	defer close(l.done)
	ticker := time.NewTicker(drainPause)
	defer ticker.Stop()
	for {
		select {
		case <-l.stop:
			return
		case <-ticker.C:
			l.mu.Lock()
			l.drain()
			l.mu.Unlock()
		}
	}
}

// drain reads what is there. A line that is only half written waits in part.
func (l *Log) drain() {
	for l.err == nil {
		piece, err := l.in.ReadSlice('\n')
		if err != nil {
			l.part = append(l.part, piece...)
			if errors.Is(err, bufio.ErrBufferFull) {
				continue
			}
			if !errors.Is(err, io.EOF) {
				l.err = fmt.Errorf("read audit log: %w", err)
			}
			return
		}
		l.add(append(l.part, piece...))
		l.part = l.part[:0]
	}
}

func (l *Log) add(line []byte) {
	e, err := Parse(line)
	if err != nil {
		l.err = err
		return
	}
	l.tally.Add(e)
}

// Counts returns what was counted up to now.
func (l *Log) Counts() []Count {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drain()
	return l.tally.Counts()
}

// Since returns what was counted after before was taken.
func (l *Log) Since(before []Count) []Count {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drain()
	return l.tally.Since(before)
}

// LastWork returns when one of the processes was last seen at work.
func (l *Log) LastWork(processes []string) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drain()
	return l.tally.LastWork(processes)
}

// Err returns an error when a line could not be read or a request is of nobody known: the run is then worth nothing.
func (l *Log) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drain()
	return errors.Join(l.err, l.tally.Unattributed())
}

// Close ends the following.
func (l *Log) Close() error {
	close(l.stop)
	<-l.done
	return l.file.Close()
}
