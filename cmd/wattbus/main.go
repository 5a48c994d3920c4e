// Command wattbus is every role of the system and its command line, in one binary; internal/cli holds what it does.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/wattbus/wattbus/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the process at once
	os.Exit(cli.Main(ctx, os.Args[1:], cli.OS()))
}
