package cli

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/apiclient"
	"github.com/wattbus/wattbus/internal/record"
)

var imageColumns = []column[api.Image]{
	{"image", func(i api.Image) string { return i.ID }},
	{"version", func(i api.Image) string { return i.Version }},
	{"model", func(i api.Image) string { return i.Model }},
	{"bytes", func(i api.Image) string { return strconv.FormatUint(uint64(i.Size), 10) }},
	{"uploaded", func(i api.Image) string { return stamp(&i.Uploaded) }},
	{"by", func(i api.Image) string { return i.By }},
	{"key", func(i api.Image) string { return i.Key }},
}

var rollOutColumns = []column[api.RollOut]{
	{"id", func(r api.RollOut) string { return r.ID }},
	{"image", func(r api.RollOut) string { return r.Image }},
	{"version", func(r api.RollOut) string { return r.Version }},
	{"target", func(r api.RollOut) string { return targetText(r.Target) }},
	{"state", func(r api.RollOut) string { return r.State }},
	{"meters", func(r api.RollOut) string { return strconv.Itoa(r.Progress.Total) }},
	{"received_percent", func(r api.RollOut) string { return strconv.FormatFloat(r.Progress.Received, 'f', 1, 64) }},
	{"progress", func(r api.RollOut) string {
		if r.State == api.RollOutPending && r.Approval != nil {
			return r.Approval.Why
		}
		return numbers(r.Progress.States)
	}},
	{"reasons", func(r api.RollOut) string { return numbers(r.Progress.Reasons) }},
}

var rollOutMeterColumns = []column[api.RollOutMeter]{
	{"meter", func(m api.RollOutMeter) string { return m.Meter }},
	{"path", func(m api.RollOutMeter) string { return m.Path }},
	{"state", func(m api.RollOutMeter) string { return m.State }},
	{"reason", func(m api.RollOutMeter) string { return m.Reason }},
	{"changed", func(m api.RollOutMeter) string { return stamp(&m.Changed) }},
}

func numbers(m map[string]int) string {
	parts := make([]string, 0, len(m))
	for _, k := range sortedKeys(m) {
		parts = append(parts, fmt.Sprintf("%s %d", k, m[k]))
	}
	return strings.Join(parts, ", ")
}

func newFirmware(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "firmware",
		Short: "Sign firmware images and bring them to meters",
		Long: `Sign firmware images and bring them to meters, in blocks over the bus: to many at once, over losses and restarts of every part, activated
at a time. docs/firmware.md is the way from a file to meters that run it.`,
		Example: "  wattbus firmware key fw\n" +
			"  wattbus firmware sign meter.bin --key fw.private --version 1.3.0 --model ACE-1\n" +
			"  wattbus firmware upload meter.bin.signed\n" +
			"  wattbus firmware roll-out 5f1d3c2b4a596877 path:C1 --first 1 --activate-at 2026-12-01T02:00:00Z",
	}
	cmd.AddCommand(newFirmwareKey(a), newFirmwareSign(a), newFirmwareUpload(a), newFirmwareList(a), newFirmwareShow(a), newFirmwareDelete(a), newFirmwareRollOut(a), newFirmwareRollOuts(a),
		newFirmwareProgress(a),
		newRollOutAction(a, "pause", "Stop sending; meters that have the image activate it at their time all the same"),
		newRollOutAction(a, "resume", "Go on with a roll-out that was paused, or paused by itself"),
		newRollOutAction(a, "cancel", "End a roll-out; meters that do not run the image yet are told to drop it"),
		newRollOutAction(a, "approve", "Let a roll-out go that another person asked for"),
		newRollOutAction(a, "reject", "End a roll-out that waits for approval"))
	return cmd
}

func newFirmwareKey(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "key NAME",
		Short: "Make a pair of keys: NAME.private to sign with, NAME.public for the meters",
		Long: `Make a pair of Ed25519 keys: NAME.private signs images and has to be kept secret; NAME.public is what meters are given
("wattbus meter --firmware-key", or Options.FirmwareKeys of the package device). Files that are there are not replaced.`,
		Example: "  wattbus firmware key fw",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			public, private, err := ed25519.GenerateKey(rand.Reader)
			if err != nil {
				return err
			}
			for _, f := range []struct {
				path, word string
				b          []byte
				mode       fs.FileMode
			}{{args[0] + ".private", privateKeyWord, private.Seed(), 0o600}, {args[0] + ".public", publicKeyWord, public, 0o644}} {
				if err := writeNew(f.path, []byte(f.word+hex.EncodeToString(f.b)+"\n"), f.mode); err != nil {
					return err
				}
			}
			fmt.Fprintf(a.Out, "%s\n", hex.EncodeToString(public))
			return nil
		},
	}
}

// writeNew writes a file that must not be there yet.
func writeNew(path string, b []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Close())
}

func newFirmwareSign(a *app) *cobra.Command {
	var key, version, model, out string
	var back bool
	cmd := &cobra.Command{
		Use:     "sign FILE",
		Short:   "Sign a firmware image",
		Long:    "Put an image, what it is and its signature into one file, for \"wattbus firmware upload\". It prints the image's id.",
		Example: "  wattbus firmware sign meter.bin --key fw.private --version 1.3.0 --model ACE-1",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if out == "-" {
				return usagef("flag --out: name a file: standard output is for the image's id")
			}
			k, err := firmwarePrivateKey(key)
			if err != nil {
				return usagef("flag --key: %w", err)
			}
			m := record.Manifest{Model: model}
			if m.Version, err = record.ParseFirmwareVersion(version); err != nil {
				return usagef("flag --version: %w", err)
			}
			if back {
				m.Flags |= record.ManifestBack
			}
			data, err := os.ReadFile(args[0])
			if err != nil {
				return err
			}
			img, err := record.SignImage(k, m, data)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			if out == "" {
				out = args[0] + ".signed"
			}
			if err := writeNew(out, img.Append(nil), 0o644); err != nil {
				return err
			}
			fmt.Fprintf(a.Out, "%s\n", img.ID)
			fmt.Fprintf(a.Err, "%s: image %s, version %s for %s, %d bytes, signed by %s\n", out, img.ID, img.Version, img.Model, img.Size, hex.EncodeToString(img.Key))
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&key, "key", "", "file of the private key (needed)")
	f.StringVar(&version, "version", "", "version of the image, such as 1.3.0 (needed)")
	f.StringVar(&model, "model", "", "the meters it is for, 1 to 20 characters without spaces (needed)")
	f.BoolVar(&back, "may-go-back", false, "it may replace a newer version")
	f.StringVar(&out, "out", "", "the signed file (default FILE.signed); one that is there is not replaced")
	return cmd
}

func newFirmwareUpload(a *app) *cobra.Command {
	l := &look{app: a}
	cmd := &cobra.Command{
		Use:     "upload FILE",
		Short:   "Give a signed image to the centre",
		Example: "  wattbus firmware upload meter.bin.signed",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer func() { _ = f.Close() }() // it was only read
			size, err := f.Seek(0, io.SeekEnd)
			if err == nil {
				_, err = f.Seek(0, io.SeekStart)
			}
			if err != nil {
				return err
			}
			return showOne(cmd, l, imageColumns, func(ctx context.Context, c *apiclient.Client) (api.Image, error) {
				bar := newProgress(a.Err, "Uploading")
				defer bar.clear()
				return c.UploadImage(ctx, &counted{r: f, size: size, p: bar}, size)
			})
		},
	}
	l.flags(cmd, false)
	return cmd
}

func newFirmwareList(a *app) *cobra.Command {
	l := &look{app: a}
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the images that the centre keeps, newest first",
		Example: "  wattbus firmware list -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return showList(cmd, l, imageColumns, func(ctx context.Context, c *apiclient.Client) ([]api.Image, error) {
				return c.Images(ctx)
			})
		},
	}
	l.flags(cmd, true)
	return cmd
}

func newFirmwareShow(a *app) *cobra.Command {
	l := &look{app: a}
	cmd := &cobra.Command{
		Use:     "show IMAGE",
		Short:   "Show an image that the centre keeps",
		Example: "  wattbus firmware show 5f1d3c2b4a596877",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return showOne(cmd, l, imageColumns, func(ctx context.Context, c *apiclient.Client) (api.Image, error) {
				return c.Image(ctx, args[0])
			})
		},
	}
	l.flags(cmd, true)
	return cmd
}

func newFirmwareDelete(a *app) *cobra.Command {
	l := &look{app: a}
	cmd := &cobra.Command{
		Use:   "delete IMAGE",
		Short: "Have the centre keep an image no longer",
		Long: `Have the centre keep an image no longer: for one that is withdrawn, or when there are too many. It is refused while a roll-out of the image has
not ended. Meters keep what they run; what was rolled out stays in the list of roll-outs and in the audit trail.`,
		Example: "  wattbus firmware delete 5f1d3c2b4a596877",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return l.show(cmd.Context(), func(ctx context.Context, c *apiclient.Client) error {
				img, err := c.DeleteImage(ctx, args[0])
				if err != nil {
					return err
				}
				return write(a.Out, l.output, []api.Image{img}, imageColumns)
			})
		},
	}
	l.flags(cmd, false)
	return cmd
}

func newFirmwareRollOut(a *app) *cobra.Command {
	l := &look{app: a}
	var q api.RollOutRequest
	var at string
	var expires time.Duration
	cmd := &cobra.Command{
		Use:   "roll-out IMAGE TARGET",
		Short: "Bring an image to meters",
		Long: `Bring an image to meters: it is offered to each, its blocks go to many at once, and what is lost is repeated until all have it. It goes on
by itself; "wattbus firmware progress ID" shows how far it is.` + targetHelp,
		Example: "  wattbus firmware roll-out 5f1d3c2b4a596877 M1000317\n" +
			"  wattbus firmware roll-out 5f1d3c2b4a596877 path:C1 --first 1 --activate-at 2026-12-01T02:00:00Z",
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			q.Image = args[0]
			if _, err := record.ParseImageID(q.Image); err != nil {
				return usagef("%w", err)
			}
			to, err := readTarget(args[1], a.In)
			if err != nil {
				return err
			}
			q.Target = to.Target
			if q.ActivateAt, err = parseTime("activate-at", at); err != nil {
				return err
			}
			if expires != 0 && expires < time.Minute {
				return usagef("flag --expires: value %v, want at least 1m", expires)
			}
			q.ExpiresIn = int(expires / time.Second)
			return l.show(cmd.Context(), func(ctx context.Context, c *apiclient.Client) error {
				r, err := c.CreateRollOut(ctx, q)
				if err != nil {
					return to.place(err)
				}
				if r.State == api.RollOutPending {
					fmt.Fprintf(a.Err, "roll-out %s waits for approval: %s; \"wattbus firmware approve %s\" with another person's token lets it go\n", r.ID, r.Approval.Why, r.ID)
				}
				return write(a.Out, l.output, []api.RollOut{r}, rollOutColumns)
			})
		},
	}
	l.flags(cmd, false)
	f := cmd.Flags()
	f.StringVar(&at, "activate-at", "", "when the meters activate it, RFC 3339 by their clocks (default: once they have verified it)")
	f.BoolVar(&q.OnCommand, "on-command", false, "they activate it only when a command firmware-activate comes")
	f.Float64Var(&q.First, "first", 0, "per cent of the meters that get it first; the others follow once these are through (default: all at once)")
	f.Float64Var(&q.MaxFailures, "max-failures", 0, "per cent of the first meters that may refuse it or fail; with more it pauses")
	f.IntVar(&q.BlockSize, "block-size", 0, "bytes of the image in one message, 64 to 2048 (default 512)")
	f.IntVar(&q.Rate, "rate", 0, "bytes a second below one concentrator (default 8192)")
	f.DurationVar(&expires, "expires", 0, "how long it goes on at most (default 336h)")
	return cmd
}

func newFirmwareRollOuts(a *app) *cobra.Command {
	l := &look{app: a}
	var open bool
	var limit int
	cmd := &cobra.Command{
		Use:     "roll-outs",
		Short:   "List roll-outs, newest first",
		Example: "  wattbus firmware roll-outs --open --watch",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkLimit(limit); err != nil {
				return err
			}
			return showList(cmd, l, rollOutColumns, func(ctx context.Context, c *apiclient.Client) ([]api.RollOut, error) {
				return c.RollOuts(ctx, open, limit)
			})
		},
	}
	l.flags(cmd, true)
	cmd.Flags().BoolVar(&open, "open", false, "only those that have not ended")
	cmd.Flags().IntVar(&limit, "limit", 50, "at most this many; 0: all")
	return cmd
}

func newFirmwareProgress(a *app) *cobra.Command {
	l := &look{app: a}
	var meters bool
	var state string
	cmd := &cobra.Command{
		Use:     "progress ROLL-OUT",
		Short:   "Show how far a roll-out is, or its meters",
		Example: "  wattbus firmware progress 7264936155 --watch\n  wattbus firmware progress 7264936155 --meters --state failed",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return l.show(cmd.Context(), func(ctx context.Context, c *apiclient.Client) error {
				if meters || state != "" {
					items, err := c.RollOutMeters(ctx, args[0], state, 0)
					if err != nil {
						return err
					}
					return write(a.Out, l.output, items, rollOutMeterColumns)
				}
				r, err := c.RollOut(ctx, args[0])
				if err != nil {
					return err
				}
				if err := write(a.Out, l.output, []api.RollOut{r}, rollOutColumns); err != nil || l.output.format != "table" {
					return err
				}
				fmt.Fprintf(a.Out, "\nsent %d blocks, %d bytes\n", r.Progress.Blocks, r.Progress.Bytes)
				for _, h := range r.History {
					fmt.Fprintln(a.Out, l.output.transition(h, 16))
				}
				return nil
			})
		},
	}
	l.flags(cmd, true)
	cmd.Flags().BoolVar(&meters, "meters", false, "its meters, each with its state")
	cmd.Flags().StringVar(&state, "state", "", "only meters in this state: waiting, offered, receiving, verified, activated, refused, failed, cancelled or expired")
	return cmd
}

func newRollOutAction(a *app, action, short string) *cobra.Command {
	l := &look{app: a}
	var comment string
	cmd := &cobra.Command{
		Use:     action + " ROLL-OUT",
		Short:   short,
		Example: "  wattbus firmware " + action + " 7264936155",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return showOne(cmd, l, rollOutColumns, func(ctx context.Context, c *apiclient.Client) (api.RollOut, error) {
				return c.ChangeRollOut(ctx, args[0], action, comment)
			})
		},
	}
	l.flags(cmd, false)
	cmd.Flags().StringVar(&comment, "comment", "", "why; it is kept in the audit trail")
	return cmd
}
