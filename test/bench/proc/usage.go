// SPDX-License-Identifier: Apache-2.0

package proc

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// ticks is USER_HZ, the unit of CPU times in /proc: 100 on every platform that Go runs on.
const ticks = 100

// Memory is what a process holds, in MiB.
type Memory struct {
	// Anonymous is heap and stacks: what the process cannot give back. It is what candidates are compared by.
	Anonymous float64
	// Resident is that and the pages of files, above all of the binary, that happen to be in memory.
	Resident float64
	// PeakResident is the kernel's high-water mark since the start or the last ResetPeak.
	PeakResident float64
}

// ReadMemory reads /proc/PID/status. A process that has ended holds nothing.
func ReadMemory(pid int) Memory {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return Memory{}
	}
	return parseMemory(text)
}

func parseMemory(status []byte) Memory {
	var m Memory
	fields := map[string]*float64{"RssAnon": &m.Anonymous, "VmRSS": &m.Resident, "VmHWM": &m.PeakResident}
	for line := range strings.Lines(string(status)) {
		name, rest, _ := strings.Cut(line, ":")
		target, ok := fields[name]
		words := strings.Fields(rest)
		if !ok || len(words) == 0 {
			continue
		}
		if kib, err := strconv.ParseFloat(words[0], 64); err == nil {
			*target = kib / 1024
		}
	}
	return m
}

// ResetPeak lets PeakResident start again from what is resident now, so that each step has its own.
func ResetPeak(pid int) {
	// Without the permission the peak is that since the start: an upper bound.
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0)
}

// CPU returns the seconds of CPU that a process and its children that were waited for have used. One that has ended has
// used none.
func CPU(pid int) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	s, err := parseStat(text)
	if err != nil {
		return 0
	}
	return s.cpu
}

// stat is what is read of /proc/PID/stat.
type stat struct {
	name   string
	parent int
	cpu    float64
}

func parseStat(text []byte) (stat, error) {
	// The name may hold spaces and brackets, so the last bracket counts.
	open, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if open < 0 || end < open {
		return stat{}, errors.New("no name in stat")
	}
	fields := strings.Fields(string(text[end+1:]))
	if len(fields) < 15 {
		return stat{}, fmt.Errorf("stat has %d fields", len(fields))
	}
	s := stat{name: string(text[open+1 : end])}
	var err error
	if s.parent, err = strconv.Atoi(fields[1]); err != nil {
		return stat{}, fmt.Errorf("parent in stat: %w", err)
	}
	for _, f := range fields[11:15] { // utime, stime, cutime, cstime
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return stat{}, fmt.Errorf("time in stat: %w", err)
		}
		s.cpu += float64(n) / ticks
	}
	return s, nil
}

// Children returns the processes below pid, at any depth, by name. The kernel cuts names at 15 characters.
func Children(pid int) map[string]int {
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	parents, names := map[int]int{}, map[int]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended since
		}
		child, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			continue
		}
		if s, err := parseStat(text); err == nil {
			parents[child], names[child] = s.parent, s.name
		}
	}
	found := map[string]int{}
	for child := range parents {
		for up := parents[child]; up > 1; up = parents[up] {
			if up == pid {
				found[names[child]] = child
				break
			}
		}
	}
	return found
}

// Busy returns the seconds of CPU that the whole machine has spent on anything.
func Busy() float64 {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	return parseBusy(text)
}

func parseBusy(text []byte) float64 {
	line, _, _ := strings.Cut(string(text), "\n")
	fields := strings.Fields(line)
	if len(fields) == 0 {
		return 0
	}
	var sum float64
	for i, field := range fields[1:] {
		if i == 3 || i == 4 || i >= 8 { // idle, iowait; guests are in user time already
			continue
		}
		n, _ := strconv.ParseFloat(field, 64)
		sum += n
	}
	return sum / ticks
}
