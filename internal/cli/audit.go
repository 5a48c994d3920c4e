package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/apiclient"
	"github.com/wattbus/wattbus/internal/audit"
	"github.com/wattbus/wattbus/internal/config"
	"github.com/wattbus/wattbus/internal/store/sqlite"
)

// auditColumns read the entry in a record; one that cannot be read shows as it is.
var auditColumns = []column[api.AuditRecord]{
	{"sequence", func(r api.AuditRecord) string { return strconv.FormatUint(r.Sequence, 10) }},
	{"time_wall", func(r api.AuditRecord) string { return entryOf(r).Time.UTC().Format("2006-01-02T15:04:05.000Z") }},
	{"actor", func(r api.AuditRecord) string { return entryOf(r).Actor }},
	{"action", func(r api.AuditRecord) string { return entryOf(r).Action }},
	{"subject", func(r api.AuditRecord) string { return entryOf(r).Subject }},
	{"meter", func(r api.AuditRecord) string { return entryOf(r).Meter }},
	{"detail", func(r api.AuditRecord) string { return clipped(string(entryOf(r).Detail), 120) }},
}

func clipped(s string, n int) string {
	if len(s) > n {
		return strings.ToValidUTF8(s[:n], "") + "…"
	}
	return s
}

func entryOf(r api.AuditRecord) audit.Entry {
	var e audit.Entry
	if err := json.Unmarshal(r.Entry, &e); err != nil {
		return audit.Entry{Actor: "?", Action: "not readable", Detail: r.Entry}
	}
	return e
}

func newAudit(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "audit",
		Example: "  wattbus audit list --actor alice\n  wattbus audit verify\n  wattbus audit export --out trail.jsonl",
		Short:   "List, verify and export the trail of who did what",
		Long: `The audit trail holds every change that somebody made through the centre, and what became of every command. Each entry's hash
covers the one before it, so that none can be changed, removed, added or moved unnoticed; docs/commands.md says what is hashed.

Write the head down somewhere else now and then ("wattbus audit head"): with it "verify" also sees a trail whose end was cut
off, or that was made anew as a whole.`,
	}
	cmd.AddCommand(newAuditList(a), newAuditHead(a), newAuditVerify(a), newAuditExport(a))
	return cmd
}

func newAuditList(a *app) *cobra.Command {
	l := &look{app: a}
	var q api.AuditQuery
	limit := 50
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List entries, newest first",
		Long:    "List entries of the audit trail, newest first.",
		Example: "  wattbus audit list --actor alice --action command\n  wattbus audit list --origin asked\n  wattbus audit list --meter M1000317 --limit 0 -o csv",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkLimit(limit); err != nil {
				return err
			}
			if o := q.Origin; o != "" && o != api.OriginAsked && o != api.OriginCentre {
				return usagef("flag --origin: value %q, want %s or %s", o, api.OriginAsked, api.OriginCentre)
			}
			return showList(cmd, l, auditColumns, func(ctx context.Context, c *apiclient.Client) ([]api.AuditRecord, error) {
				return c.Audit(ctx, q, limit)
			})
		},
	}
	l.flags(cmd, true)
	f := cmd.Flags()
	f.StringVar(&q.Actor, "actor", "", "only what this one did; \"centre\" is the centre itself")
	f.StringVar(&q.Action, "action", "", "only this action, such as command.approve, or all before the point: command")
	f.StringVar(&q.Origin, "origin", "", "only what people and programs did (asked), or only what the centre did by itself (centre) (default: both)")
	f.StringVar(&q.Subject, "subject", "", "only what concerns this command, edit, group, …")
	f.StringVar(&q.Meter, "meter", "", "only what concerns this meter")
	f.IntVar(&limit, "limit", limit, "at most this many; 0: all")
	return cmd
}

func newAuditHead(a *app) *cobra.Command {
	l := &look{app: a}
	cmd := &cobra.Command{
		Use:     "head",
		Short:   "Print the end of the trail, to be kept elsewhere",
		Long:    "Print the number and the hash of the last entry. Keep it where nobody who can write to the centre's store can: \"wattbus audit verify --head\" then tells whether anything up to there was touched.",
		Example: "  wattbus audit head >> /mnt/elsewhere/audit-heads",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return l.show(cmd.Context(), func(ctx context.Context, c *apiclient.Client) error {
				h, err := c.AuditHead(ctx)
				if err != nil {
					return err
				}
				if l.output.format == "table" {
					_, err = fmt.Fprintln(a.Out, h.Text)
					return err
				}
				return write(a.Out, l.output, []api.AuditHead{h}, []column[api.AuditHead]{
					{"sequence", func(h api.AuditHead) string { return strconv.FormatUint(h.Sequence, 10) }},
					{"hash", func(h api.AuditHead) string { return h.Hash }}})
			})
		},
	}
	l.flags(cmd, true)
	return cmd
}

// auditSource is where a trail is read from.
type auditSource struct {
	app            *app
	server         server
	data, storeURL string
}

func (s *auditSource) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	s.server.flags(f)
	f.StringVar(&s.data, "data", "", "read the store in this data directory, of a centre that does not run or whose word is not enough, instead of asking --server")
	f.StringVar(&s.storeURL, "store", "", "read this store: sqlite:PATH, also the wattbus.db of a backup, or postgres://user:password@host:port/database")
	config.MarkSecret(f, "store")
}

// each calls put with every record. running is what a running centre says the head is, zero where none was asked.
func (s *auditSource) each(ctx context.Context, put func(audit.Record) error) (running audit.Head, err error) {
	bar := newProgress(s.app.Err, "audit")
	defer bar.clear()
	f := func(r audit.Record) error {
		if r.Sequence%1000 == 0 {
			bar.update(int64(r.Sequence), int64(running.Sequence), "entries")
		}
		return put(r)
	}
	if s.data != "" || s.storeURL != "" {
		return audit.Head{}, s.stored(ctx, f)
	}
	client, err := s.server.client()
	if err != nil {
		return running, err
	}
	defer client.Close()
	h, err := client.AuditHead(ctx) // before the entries: what comes meanwhile is behind it
	if err != nil {
		return running, err
	}
	if running, err = audit.ParseHead(h.Text); err != nil {
		return running, err
	}
	return running, client.AuditChain(ctx, 0, func(r api.AuditRecord) error {
		x := audit.Record{Sequence: r.Sequence, Doc: r.Entry}
		if err := x.Hash.UnmarshalText([]byte(r.Hash)); err != nil {
			return fmt.Errorf("entry %d: %w", r.Sequence, err)
		}
		return f(x)
	})
}

func (s *auditSource) stored(ctx context.Context, f func(audit.Record) error) error {
	if !isPostgres(s.storeURL) {
		path := strings.TrimPrefix(s.storeURL, "sqlite:")
		if path == "" {
			path = filepath.Join(s.data, "wattbus.db")
		}
		if _, err := os.Stat(path); err != nil { // it is not to be made
			return fmt.Errorf("no store of a centre: %w", err)
		}
		return sqlite.EachAudit(ctx, path, f)
	}
	o := centerOptions{storeURL: s.storeURL}
	st, err := o.openStore(ctx, false)
	if err != nil {
		return err
	}
	var after uint64
	for err == nil {
		var rs []audit.Record
		if rs, err = st.Audit(ctx, after, 5000); len(rs) == 0 {
			break
		}
		for i := range rs {
			if err = f(rs[i]); err != nil {
				break
			}
		}
		after = rs[len(rs)-1].Sequence
	}
	return errors.Join(err, st.Close())
}

func newAuditVerify(a *app) *cobra.Command {
	s := &auditSource{app: a}
	var heads []string
	cmd := &cobra.Command{
		Use:   "verify [FILE]",
		Short: "Check that nothing in the trail was changed, removed, added or moved",
		Long: `Read the whole audit trail, of a running centre, of a store (--data, --store), or of a FILE that "wattbus audit export" wrote, and
check every hash here, not at the centre. With --head it is also checked against a head that was written down before: only so
is it seen that the end was cut off, or that the trail was made anew as a whole.

The exit status is 1 where the trail was tampered with; the message says where.`,
		Example: "  wattbus audit verify --head 4711:9f3a…\n  wattbus audit verify --data /var/lib/wattbus --head \"$(tail -1 /mnt/elsewhere/audit-heads)\"\n  wattbus audit verify trail.jsonl",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var anchors []audit.Head
			for _, text := range heads {
				h, err := audit.ParseHead(text)
				if err != nil {
					return usagef("flag --head: %w", err)
				}
				anchors = append(anchors, h)
			}
			if len(args) == 1 {
				if s.data != "" || s.storeURL != "" {
					return usagef("give a file, --data or --store, not several")
				}
				return verifyAuditFile(a, args[0], anchors)
			}
			v := audit.NewVerifier(audit.Head{}, anchors...)
			running, err := s.each(cmd.Context(), v.Add)
			if err == nil {
				err = v.Finish()
			}
			if err == nil && running.Sequence > v.Head().Sequence {
				err = &audit.Break{Sequence: v.Head().Sequence + 1, Why: fmt.Sprintf("the store ends with entry %d, the running centre has made %d: its end was cut off", v.Head().Sequence, running.Sequence)}
			}
			if err != nil {
				return err
			}
			return toldVerified(a, v.Head(), v.Head().Sequence, len(anchors))
		},
	}
	s.flags(cmd)
	cmd.Flags().StringArrayVar(&heads, "head", nil, "a head that was written down; may be given several times")
	return cmd
}

func toldVerified(a *app, h audit.Head, entries uint64, anchors int) error {
	against := ""
	if anchors > 0 {
		against = fmt.Sprintf(", as %d head(s) that were written down say", anchors)
	}
	_, err := fmt.Fprintf(a.Out, "%d entries, none changed, removed, added or moved%s; head %v\n", entries, against, h)
	return err
}

func verifyAuditFile(a *app, path string, anchors []audit.Head) (err error) {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	h, n, err := audit.VerifyExport(f, anchors...)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return toldVerified(a, h, n, len(anchors))
}

func newAuditExport(a *app) *cobra.Command {
	s := &auditSource{app: a}
	var to string
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write the trail as lines of JSON, with their hashes",
		Long: `Write the whole audit trail, a JSON object a line with the entry, its number, its hash and the one before, and the head last.
"wattbus audit verify FILE" checks such a file, and any program that knows SHA-256 can; docs/commands.md says how.`,
		Example: "  wattbus audit export --out trail.jsonl",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			var out io.Writer = a.Out
			if to != "" && to != "-" {
				f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
				if err != nil {
					return fmt.Errorf("flag --out: %w", err)
				}
				defer func() { err = errors.Join(err, f.Close()) }()
				out = f
			}
			w := audit.NewWriter(out, audit.Head{})
			if _, err := s.each(cmd.Context(), w.Put); err != nil {
				return err
			}
			return w.Close()
		},
	}
	s.flags(cmd)
	cmd.Flags().StringVar(&to, "out", "", "file to write, which must not exist (default, or -: standard output)")
	return cmd
}
