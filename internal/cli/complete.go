package cli

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/apiclient"
	"github.com/wattbus/wattbus/internal/brokerbench"
)

// completeWithin is how long a shell waits for the centre before it offers nothing.
const completeWithin = 2 * time.Second

// completion is what may stand in one place of a command line: what ask gives, each "value" or "value<tab>what it is", where begun
// stands already; or else what the shell completes itself.
type completion struct {
	ask   func(s *asked, begun string) []string
	shell cobra.ShellCompDirective // without ask
}

// files and directories are completed by the shell.
var (
	files       = completion{shell: cobra.ShellCompDirectiveDefault}
	directories = completion{shell: cobra.ShellCompDirectiveFilterDirs}
	nothing     = completion{shell: cobra.ShellCompDirectiveNoFileComp}
)

// asked is the command line whose end is to be completed.
type asked struct {
	app  *app
	cmd  *cobra.Command
	ctx  context.Context //nolint:containedctx // of one question
	args []string        // that stand there already
}

// client connects to the centre that the command would ask, nil if it would ask none.
func (s *asked) client() *apiclient.Client {
	f := s.cmd.Flags()
	if f.Lookup("token") == nil || s.app.applyConfig(s.cmd) != nil {
		return nil
	}
	text := func(name string) string { v, _ := f.GetString(name); return v } // "" where there is no such flag
	c, err := (&server{url: text("server"), token: text("token"), ca: text("ca")}).client()
	if err != nil {
		return nil
	}
	return c
}

func words(list ...string) completion {
	return completion{ask: func(*asked, string) []string { return list }}
}

// things are those that the centre lists.
func things[T any](list func(*asked, *apiclient.Client, string) ([]T, error), say func(T) (value, what string)) completion {
	return completion{ask: func(s *asked, begun string) (out []string) {
		c := s.client()
		if c == nil {
			return nil
		}
		items, _ := list(s, c, begun) // a centre that does not answer offers nothing
		for _, it := range items {
			if value, what := say(it); value != "" {
				out = append(out, value+"\t"+what)
			}
		}
		return out
	}}
}

// most bounds what is asked for: more than that nobody reads in a shell.
const most = 200

var (
	meterNames = things(func(s *asked, c *apiclient.Client, begun string) ([]api.Meter, error) {
		return c.Meters(s.ctx, api.MeterQuery{Q: begun}, most)
	}, func(m api.Meter) (string, string) { return m.ID, m.State + " " + m.Path })
	pathNames = things(func(s *asked, c *apiclient.Client, _ string) ([]api.Concentrator, error) {
		return c.Concentrators(s.ctx)
	},
		func(k api.Concentrator) (string, string) { return k.Path, k.State })
	groupNames = things(func(s *asked, c *apiclient.Client, _ string) ([]api.Group, error) { return c.Groups(s.ctx) },
		func(g api.Group) (string, string) {
			return strconv.FormatUint(uint64(g.Group), 10), fmt.Sprintf("%d members", len(g.Members))
		})
	usagePointNames = things(func(s *asked, c *apiclient.Client, begun string) ([]api.UsagePoint, error) {
		return c.UsagePoints(s.ctx, api.UsagePointQuery{Q: begun}, most)
	}, func(u api.UsagePoint) (string, string) { return u.ID, strings.TrimSpace(u.Meter + " " + u.Transformer) })
	commandNames = commandsOf(false)
	waitingNames = things(func(s *asked, c *apiclient.Client, _ string) ([]api.Command, error) {
		return c.Commands(s.ctx, api.CommandQuery{Open: true, Origin: api.OriginAsked}, most)
	},
		func(k api.Command) (string, string) {
			if k.State != api.CommandPendingApproval {
				return "", ""
			}
			return k.ID, k.Type + " " + targetText(k.Target)
		})
	openNames   = commandsOf(true)
	outageNames = things(func(s *asked, c *apiclient.Client, _ string) ([]api.Outage, error) {
		return c.OutagesOf(s.ctx, api.OutageQuery{}, most)
	},
		func(o api.Outage) (string, string) { return o.ID, o.Kind + " " + whereOf(o) + " " + stamp(&o.Start) })
	workNames = things(func(s *asked, c *apiclient.Client, _ string) ([]api.Maintenance, error) {
		return c.Maintenance(s.ctx, false, most)
	},
		func(w api.Maintenance) (string, string) {
			return w.ID, strings.TrimSpace(w.Scope+" "+w.Name) + ", " + w.State
		})
	editNames = things(func(s *asked, c *apiclient.Client, _ string) ([]api.Edit, error) { return c.Edits(s.ctx, false, most) },
		func(e api.Edit) (string, string) { return e.ID, e.Meter + " " + e.Action + ", " + e.State })
	openEditNames = things(func(s *asked, c *apiclient.Client, _ string) ([]api.Edit, error) { return c.Edits(s.ctx, true, most) },
		func(e api.Edit) (string, string) { return e.ID, e.Meter + " " + e.Action })
	imageNames = things(func(s *asked, c *apiclient.Client, _ string) ([]api.Image, error) { return c.Images(s.ctx) },
		func(i api.Image) (string, string) { return i.ID, i.Version + " for " + i.Model })
	rollOutNames = things(func(s *asked, c *apiclient.Client, _ string) ([]api.RollOut, error) {
		return c.RollOuts(s.ctx, false, most)
	},
		func(r api.RollOut) (string, string) {
			return r.ID, r.Version + " " + targetText(r.Target) + ", " + r.State
		})
	quarantineNames = things(func(s *asked, c *apiclient.Client, _ string) ([]api.Quarantine, error) { return c.Quarantines(s.ctx) },
		func(q api.Quarantine) (string, string) { return q.Name, q.Why })
	runNames = things(func(s *asked, c *apiclient.Client, _ string) ([]api.BillingRun, error) { return c.BillingRuns(s.ctx) },
		func(r api.BillingRun) (string, string) { return r.Name, r.What + " " + r.From + " " + r.To })
	subMeterNames = things(func(s *asked, c *apiclient.Client, _ string) ([]api.SubMeter, error) {
		return c.SubMeters(s.ctx, s.args[0], most)
	},
		func(m api.SubMeter) (string, string) { return m.ID, m.Medium })
	targetNames = things(func(s *asked, c *apiclient.Client, _ string) ([]api.TargetStatus, error) { return c.Targets(s.ctx) },
		func(t api.TargetStatus) (string, string) { return t.Name, t.Type + ", " + t.State })
)

// commandsOf are the latest commands, or those that are open.
func commandsOf(open bool) completion {
	return things(func(s *asked, c *apiclient.Client, _ string) ([]api.Command, error) {
		return c.Commands(s.ctx, api.CommandQuery{Open: open, Origin: api.OriginAsked}, most)
	},
		func(k api.Command) (string, string) {
			return k.ID, k.Type + " " + targetText(k.Target) + ", " + k.State
		})
}

// gridNamesOf the grid, by the sums of the last slot.
func gridNamesOf(by string) completion {
	return things(func(s *asked, c *apiclient.Client, _ string) ([]api.Sum, error) {
		sums, err := c.Sums(s.ctx, api.SumQuery{By: by})
		return sums.Items, err
	}, func(k api.Sum) (string, string) { return k.Key, fmt.Sprintf("%d meters", k.Meters) })
}

// placeNames are the parts of the grid of the kind that is the first argument: of maintenance.
func placeNames(s *asked, begun string) (out []string) {
	switch scope := s.args[0]; scope {
	case "meter":
		return meterNames.ask(s, begun)
	case "transformer", "feeder":
		return gridNamesOf(scope).ask(s, begun)
	case "concentrator":
		for _, path := range pathNames.ask(s, "") {
			out = append(out, path[strings.LastIndexByte(path, '/')+1:])
		}
	}
	return out
}

var (
	meterStates    = []string{api.StateOnline, api.StateDisconnected, api.StateCommLost, api.StatePowerLost, api.StateUnreachable, api.StateSleeping, api.StateNeverSeen}
	contractStates = []string{"active", "vacant", "disconnected"}
)

// targetCompletions are what a command may be for: see targetHelp.
func targetCompletions(s *asked, begun string) (out []string) {
	prefixed := func(prefix string, list []string) []string {
		for _, one := range list {
			out = append(out, prefix+one)
		}
		return out
	}
	kind, rest, _ := strings.Cut(begun, ":")
	switch {
	case kind == "path" && kind != begun:
		return prefixed("path:", pathNames.ask(s, rest))
	case kind == "group" && kind != begun:
		return prefixed("group:", groupNames.ask(s, rest))
	case kind == "query" && kind != begun:
		before, last := "query:", rest
		if i := strings.LastIndexByte(rest, ','); i >= 0 {
			before, last = "query:"+rest[:i+1], rest[i+1:]
		}
		name, value, ok := strings.Cut(last, "=")
		if !ok {
			return prefixed(before, []string{"path=", "substation=", "feeder=", "transformer=", "tag=", "contract=", "state="})
		}
		values := map[string]completion{"path": pathNames, "substation": gridNamesOf("substation"), "feeder": gridNamesOf("feeder"), "transformer": gridNamesOf("transformer"),
			"contract": words(contractStates...), "state": words(meterStates...)}[name]
		if values.ask == nil {
			return nil
		}
		return prefixed(before+name+"=", values.ask(s, value))
	}
	return append(listed(meterNames).ask(s, begun), "path:\tall meters below a concentrator", "group:\tthe members of a group", "query:\tall that fits", "@\ta file of meters")
}

// listed completes the last of several with commas between.
func listed(one completion) completion {
	return completion{ask: func(s *asked, begun string) (out []string) {
		i := strings.LastIndexByte(begun, ',') + 1
		for _, v := range one.ask(s, begun[i:]) {
			out = append(out, begun[:i]+v)
		}
		return out
	}}
}

// argCompletions tell what an argument may be, by its name in the command's usage: after the first word of its command where the name
// alone does not say it.
var argCompletions = map[string]completion{
	"METER": meterNames, "TARGET": {ask: targetCompletions}, "USAGE-POINT": usagePointNames, "IMAGE": imageNames, "ROLL-OUT": rollOutNames,
	"EDIT": openEditNames, "CATEGORY": words(api.CauseCategories...), "SCOPE": words("meter", "transformer", "lateral", "feeder", "concentrator", "all"),
	"meters ID": meterNames, "sub-meters SUB": subMeterNames, "commands ID": commandNames, "commands approve ID": waitingNames,
	"commands reject ID": waitingNames, "commands cancel ID": openNames, "commands watch ID": openNames, "edits ID": editNames, "outages ID": outageNames,
	"maintenance ID": workNames, "maintenance NAME": {ask: placeNames}, "quarantine NAME": quarantineNames, "runs NAME": runNames,
	"targets NAME": targetNames, "groups NUMBER": groupNames, "groups MEMBER": meterNames,
	"config COMMAND": {ask: configNames}, "FILE": files, "DIR": directories, "MESSAGE": files, "FIELDS": files,
}

// flagCompletions tell what a flag may be, by its name, after its command's where the name alone does not say it.
var flagCompletions = map[string]completion{
	"output": words("table", "wide", "json", "csv"), "events output": words("table", "json", "csv"), "outages watch output": words("table", "json", "csv"),
	"export output": words("table", "json"), "format decode output": words("text", "json"), "format encode output": words("text", "json"),
	"log-level": words("debug", "info", "warn", "error"), "log-format": words("text", "json"),
	"state": words(meterStates...), "firmware progress state": words("waiting", "offered", "receiving", "verified", "activated", "refused", "failed", "cancelled", "expired"),
	"path": pathNames, "feeder": gridNamesOf("feeder"), "substation": gridNamesOf("substation"), "transformer": gridNamesOf("transformer"),
	"meter": meterNames, "export meters": listed(meterNames), "case": outageNames, "since-run": runNames,
	"channel": words("import", "export"), "profile channel": words("import", "export", "all"), "priority": words("low", "normal", "high"),
	"contract": words(contractStates...), "kind": listed(words("power-lost", "comm-lost", "unreachable", "maintenance")), "type": listed(words(api.EventTypes()...)),
	"origin": words(api.OriginAsked, api.OriginCentre), "severity": words("info", "warning", "suspect", "failed"), "edit reason": words(api.EditReasons()...),
	"sums by": words("path", "substation", "feeder", "transformer"), "completeness by": words(completeBys...),
	"what": words("intervals", "registers", "determinants", "changes"), "export format": words("csv", "parquet", "espi", "cim"), "outages events format": words("xml", "json"),
	"rights": listed(completion{ask: rights}), "roles": listed(words("eeb", "mdms", "web")), "mqtt-version": words("3.1", "3.1.1", "5"), "bridge-mqtt-version": words("3.1", "3.1.1", "5"),
	"control-mode": words("any", "0", "1", "2", "3", "4", "5", "6"), "transport": words("mqtt", "mqttsn"), "event": words("el", "p1", "dlms"),
	"rows": listed(words(brokerbench.Rows()...)), "servers": listed(words("wattbus", "mosquitto", "nats")),
}

// configNames are the commands that a configuration file may be for, and the other files that can be checked.
func configNames(s *asked, _ string) []string {
	out := []string{"calendar\ta tariff calendar", "vee\ta rule set of validation and estimation"}
	for _, c := range documented(s.cmd.Root()) {
		if c.GroupID == "run" {
			out = append(out, c.Name()+"\t"+c.Short)
		}
	}
	return out
}

func rights(*asked, string) []string {
	out := []string{"all"}
	for _, r := range api.AllRights {
		out = append(out, string(r))
	}
	return out
}

// filesWanted and directoriesWanted are what the usage of a flag says that takes one.
var (
	directoriesWanted = regexp.MustCompile(`\bdirector(y|ies)\b`)
	filesWanted       = regexp.MustCompile(`\bfiles?\b|\bPEM\b|\bYAML\b|Unix socket for`)
)

// completeAll has every argument and every flag of cmd and below completed: by the tables above, with the names of files where files are
// wanted, else with nothing.
func (a *app) completeAll(cmd *cobra.Command) {
	for _, c := range cmd.Commands() {
		a.completeAll(c)
	}
	if cmd.HasParent() && cmd.ValidArgsFunction == nil {
		cmd.ValidArgsFunction = func(c *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
			return a.completed(c, argCompletion(c, len(args)), args, begun)
		}
	}
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		err := cmd.RegisterFlagCompletionFunc(f.Name, func(c *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
			return a.completed(c, flagCompletion(c, f), args, begun)
		})
		if err != nil {
			panic(err) // two are said to complete one flag: a mistake in the program
		}
	})
}

// argCompletion is what the argument with this index may be.
func argCompletion(cmd *cobra.Command, index int) completion {
	names := argNames(cmd.Use)
	if last := len(names) - 1; index > last && last >= 0 && strings.HasSuffix(names[last], "…") {
		index = last
	}
	if index >= len(names) {
		return nothing
	}
	name, path := strings.TrimSuffix(names[index], "…"), commandPath(cmd)
	first, _, _ := strings.Cut(path, " ")
	for _, key := range []string{path + " " + name, first + " " + name, name} {
		if one, ok := argCompletions[key]; ok {
			return one
		}
	}
	return nothing
}

func flagCompletion(cmd *cobra.Command, f *pflag.Flag) completion {
	for _, key := range []string{commandPath(cmd) + " " + f.Name, f.Name} {
		if one, ok := flagCompletions[key]; ok {
			return one
		}
	}
	switch {
	case filesWanted.MatchString(f.Usage):
		return files
	case directoriesWanted.MatchString(f.Usage):
		return directories
	}
	return nothing
}

// commandPath is how the command is called, without the program.
func commandPath(c *cobra.Command) string {
	return strings.TrimPrefix(strings.TrimPrefix(c.CommandPath(), c.Root().Name()), " ")
}

// argNames are the arguments in a usage such as "groups [NUMBER [MEMBER…]]", of which more may follow where … stands.
func argNames(use string) (out []string) {
	_, rest, _ := strings.Cut(use, " ")
	rest = strings.NewReplacer("[", "", "]", "", "...", "…", "COMMAND|calendar|vee", "COMMAND").Replace(rest)
	for name := range strings.FieldsSeq(rest) {
		if strings.ContainsAny(name[:1], "-(") {
			break
		}
		out = append(out, name)
	}
	return out
}

// completed asks what may stand where begun stands, and tells the shell what to do besides.
func (a *app) completed(cmd *cobra.Command, one completion, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	if one.ask == nil {
		return nil, one.shell
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completeWithin)
	defer cancel()
	found := one.ask(&asked{app: a, cmd: cmd, ctx: ctx, args: args}, begun)
	found = slices.DeleteFunc(slices.Clone(found), func(s string) bool { return !strings.HasPrefix(s, begun) })
	directive := cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
	if slices.ContainsFunc(found, func(s string) bool { v, _, _ := strings.Cut(s, "\t"); return strings.ContainsAny(v[len(v)-1:], ":=@") }) {
		directive |= cobra.ShellCompDirectiveNoSpace // more follows
	}
	return found, directive
}
