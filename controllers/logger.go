// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"fmt"
	"io"

	"github.com/go-logr/logr"
	"go.uber.org/zap/zapcore"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
)

// newLogger returns a logger with the keys that `flux logs` reads: ts, level, msg, error, logger.
func newLogger(c LogConfig, out io.Writer) (logr.Logger, error) {
	level, ok := map[string]zapcore.Level{"trace": -2, "debug": zapcore.DebugLevel, "info": zapcore.InfoLevel, "error": zapcore.ErrorLevel}[c.Level]
	if !ok {
		return logr.Logger{}, fmt.Errorf("log level %q", c.Level)
	}
	encoder := zap.JSONEncoder(encode)
	if c.Encoding == "console" {
		encoder = zap.ConsoleEncoder(encode)
	}
	return zap.New(zap.WriteTo(out), zap.Level(level), encoder, zap.StacktraceLevel(zapcore.PanicLevel)), nil
}

func encode(c *zapcore.EncoderConfig) {
	c.TimeKey, c.EncodeTime = "ts", zapcore.ISO8601TimeEncoder
}
