// SPDX-License-Identifier: Apache-2.0

package plane

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// podReady is the file with the stage of KWOK that turns a pod Ready.
const podReady = "pod-ready.yaml"

// readyStage is where the stage is that takes its time.
func (l *layout) readyStage() string { return l.path(podReady) }

// delayedStage returns KWOK's own stage with the delay that was asked for. What is cached is shared and stays as it is.
func delayedStage(c Config) ([]byte, error) {
	stages, err := c.Binaries.Stages()
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(stages, func(file string) bool { return filepath.Base(file) == podReady })
	if i < 0 {
		return nil, fmt.Errorf("KWOK has no stage %s to delay", podReady)
	}
	body, err := os.ReadFile(stages[i])
	if err != nil {
		return nil, err
	}
	return delayed(body, c.ReadyAfter)
}

// delayed puts a delay into a stage, which must have none and be the only document of its file.
func delayed(stage []byte, by time.Duration) ([]byte, error) {
	spec := []byte("\nspec:\n")
	if bytes.Count(stage, spec) != 1 || bytes.Contains(stage, []byte("\n  delay:")) {
		return nil, errors.New("KWOK's stage for pods that turn Ready is not as this program knows it")
	}
	return bytes.Replace(stage, spec, fmt.Appendf(nil, "%s  delay:\n    durationMilliseconds: %d\n", spec, by.Milliseconds()), 1), nil
}
