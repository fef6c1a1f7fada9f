// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"

	"sluice.dev/sluice/distro/cli/internal/cluster"
	"sluice.dev/sluice/distro/cli/internal/terminal"
	"sluice.dev/sluice/internal/build"
)

// programName is how the program calls itself.
const programName = "sluice"

// Exit statuses.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
)

// Streams are where a command reads and writes.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// Run runs one command line, without the program's name, and returns the exit status. It ends when ctx does.
func Run(ctx context.Context, args []string, streams Streams) int {
	p := newProgram(streams)
	root := p.root()
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	return p.conclude(cmd, err)
}

// program is what all commands of one run share.
type program struct {
	streams Streams
	log     *terminal.Log
	flags   cluster.Flags
	now     func() time.Time
}

func newProgram(streams Streams) *program {
	return &program{streams: streams, log: terminal.NewLog(streams.Err), now: time.Now}
}

func (p *program) root() *cobra.Command {
	root := p.group(&cobra.Command{
		Use:   programName,
		Short: "GitOps for those who have to prove it",
		Long: "Look at and steer Flux objects that Sluice, or any Flux, reconciles; see what a change would do before it is made; check an " +
			"installation, its cryptography and its ledger.",
		Version:       build.Read().Version,
		SilenceErrors: true,
		SilenceUsage:  true,
	},
		p.versionCommand(),
		p.fipsCommand(),
		p.checkCommand(),

		p.buildCommand(),
		p.diffCommand(),
		p.getCommand(),
		p.reconcileCommand(),
		p.suspendCommand(),
		p.resumeCommand(),
		p.treeCommand(),
		p.eventsCommand(),
		p.auditCommand(),
	)
	root.SetIn(p.streams.In)
	root.SetOut(p.streams.Out)
	root.SetErr(p.streams.Err)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage(err) })
	p.flags.Bind(root.PersistentFlags(), os.LookupEnv)
	root.InitDefaultCompletionCmd()
	return root
}

// group makes cmd a command that only leads to others: without a name it shows its help, and a name it does not know is an
// error and not a reason to show it.
func (p *program) group(cmd *cobra.Command, children ...*cobra.Command) *cobra.Command {
	cmd.AddCommand(children...)
	cmd.SuggestionsMinimumDistance = 2
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		hint := ""
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			hint = fmt.Sprintf(": did you mean %s?", strings.Join(near, " or "))
		}
		return usage(fmt.Errorf("unknown command %q for %q%s", args[0], cmd.CommandPath(), hint))
	}
	return cmd
}

// usageError is about the command line and not about what it asked for.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usage(err error) error { return &usageError{err} }

// errReported ends a command whose status lines have said already what went wrong.
var errReported = errors.New("already reported")

// statusError ends the program with an exit status of the command's own.
type statusError struct {
	status int
	err    error
}

func (e *statusError) Error() string { return e.err.Error() }
func (e *statusError) Unwrap() error { return e.err }

// conclude reports an error and returns the exit status.
func (p *program) conclude(cmd *cobra.Command, err error) int {
	status := exitFailure
	if own, ok := errors.AsType[*statusError](err); ok {
		status = own.status
	}
	var wrong *usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &wrong):
		p.log.Failure("%s: see %s --help", err, cmd.CommandPath())
		return exitUsage
	case errors.Is(err, errReported):
	case errors.Is(err, context.Canceled):
		p.log.Failure("interrupted")
	case errors.Is(err, context.DeadlineExceeded):
		p.log.Failure("the API server did not answer within %s (--timeout)", p.flags.Timeout)
	default:
		p.log.Failure("%s", err)
	}
	return status
}

// session is a command's connection to a cluster.
type session struct {
	*cluster.Cluster
	// config is how the cluster is reached, as the user.
	config *rest.Config
	// namespace is the one the command works in.
	namespace string
}

// connect reads the flags; no request is made yet.
func (p *program) connect(cmd *cobra.Command) (session, error) {
	namespace, err := p.flags.Namespace(cmd.Flags().Changed("namespace"))
	if err != nil {
		return session{}, usage(err)
	}
	config, err := p.flags.Config(build.Read().UserAgent(programName), warnings{p.log})
	if err != nil {
		return session{}, err
	}
	c, err := cluster.New(config)
	return session{Cluster: c, config: config, namespace: namespace}, err
}

// bounded returns the command's context with the deadline of --timeout.
func (p *program) bounded(cmd *cobra.Command) (context.Context, context.CancelFunc) {
	return context.WithTimeout(cmd.Context(), p.flags.Timeout)
}

// warnings prints what an API server warns of, for example a deprecated version.
type warnings struct{ log *terminal.Log }

// HandleWarningHeader implements rest.WarningHandler.
func (w warnings) HandleWarningHeader(code int, _, text string) {
	const miscellaneous = 299 // the only code Kubernetes uses; others come from proxies
	if code == miscellaneous && text != "" {
		w.log.Warning("API server: %s", text)
	}
}

// noArguments accepts none.
func noArguments(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage(fmt.Errorf("unexpected argument %q", args[0]))
	}
	return nil
}

// oneName accepts the name of one object of the kind.
func oneName(kind cluster.Kind) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch len(args) {
		case 0:
			return usage(fmt.Errorf("the name of a %s is missing", kind.Name))
		case 1:
			return nil
		default:
			return usage(fmt.Errorf("one %s at a time: unexpected argument %q", kind.Name, args[1]))
		}
	}
}
