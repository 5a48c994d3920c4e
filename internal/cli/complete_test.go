package cli

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/wattbus/wattbus/internal/api"
)

// What a shell is offered at the end of command lines: ids that the centre knows, words, the rest of a list.
func TestCompletions(t *testing.T) {
	url, b := fixedCentre(t)
	fixedLists(t, b)
	says[api.UsagePointQuery](t, b, api.QueryUsagePoints, list(api.UsagePoint{ID: "UP4711", Meter: "M1000317", Transformer: "F1-T01"}))
	env := map[string]string{"WATTBUS_SERVER": url}
	const files, directories, words, more = ":0", ":16", ":36", ":38"
	for _, tc := range []struct {
		line string
		want []string // beginnings of lines, and the directive
	}{
		{"meters |", []string{"M1000317\tonline C1/C11", "M1000318\tpower-lost", words}},
		{"meters M1000318|", []string{"M1000318", words}},
		{"meters X|", []string{words}},
		{"meters --state |", []string{"online", "disconnected", "comm-lost", "power-lost", "unreachable", "sleeping", "never-seen", words}},
		{"meters --state=p|", []string{"power-lost", words}},
		{"meters --path C1|", []string{"C1", "C1/C11", words}},
		{"meters --sta|", []string{"--state", ":4"}},
		{"meters -o |", []string{"table", "wide", "json", "csv", words}},
		{"meters M1000317 |", []string{":4"}},
		{"meters --from |", []string{":4"}},
		{"explain M1000317 |", []string{":4"}},
		{"read M100031|", []string{"M1000317", "M1000318", words}},
		{"read M1000317,M1000318|", []string{"M1000317,M1000318", words}},
		{"disconnect pa|", []string{"path:", more}},
		{"disconnect path:C1/|", []string{"path:C1/C11", words}},
		{"disconnect group:|", []string{"group:12\t2 members", words}},
		{"disconnect query:st|", []string{"query:state=", more}},
		{"disconnect query:feeder=F2,state=on|", []string{"query:feeder=F2,state=online", words}},
		{"disconnect query:feeder=|", []string{"query:feeder=F1\t300 meters", "query:feeder=F2", words}},
		{"commands |", []string{"approve", "cancel", "progress", "reject", "watch", "7264936155\tping path:C1, sent", "7264936150", "7264936149", words}},
		{"commands approve |", []string{"7264936150\tdisconnect group:12", words}},
		{"commands cancel |", []string{"7264936155", "7264936150", words}},
		{"audit list --origin |", []string{"asked", "centre", words}},
		{"outages show |", []string{"7264936160\tpower-lost transformer T1", "7264936158", "7264936157", words}},
		{"outages cause 7264936160 we|", []string{"weather", words}},
		{"outages --kind power-lost,c|", []string{"power-lost,comm-lost", words}},
		{"groups |", []string{"12", words}},
		{"groups 12 M1000317 |", []string{"M1000317", "M1000318", words}},
		{"edits |", []string{"7264936162\tM1000317 estimate, proposed", words}},
		{"approve |", []string{"7264936162", words}},
		{"edit M1000317 --reason s|", []string{"site-visit", words}},
		{"sub-meters M1000317 |", []string{"G0039001936990619\tgas", "channel-2\theat", words}},
		{"registry history |", []string{"UP4711\tM1000317 F1-T01", words}},
		{"maintenance add |", []string{"meter", "transformer", "lateral", "feeder", "concentrator", "all", words}},
		{"maintenance add feeder |", []string{"F1", "F2", words}},
		{"maintenance add concentrator C|", []string{"C1", "C11", "C2", words}},
		{"quarantine release |", []string{"operator:alice", words}},
		{"runs |", []string{"march", words}},
		{"export --since-run |", []string{"march", words}},
		{"targets replay |", []string{"lake\tfiles", words}},
		{"events --type state,o|", []string{"state,outage", words}},
		{"token tokens alice --rights view,op|", []string{"view,operate", words}},
		{"config check c|", []string{"calendar", "center", "concentrator", words}},
		{"config check center |", []string{files}},
		{"man config |", []string{"check", ":4"}},
		{"backup |", []string{directories}},
		{"center --data |", []string{directories}},
		{"center --tls-cert |", []string{files}},
		{"center --http |", []string{":4"}},
		{"up --config |", []string{files}},
		{"up |", []string{":4"}},
	} {
		args := strings.Split(strings.TrimSuffix(tc.line, "|"), " ")
		out, _, status := call(t, env, append([]string{cobra.ShellCompRequestCmd}, args...)...)
		got := strings.Split(strings.TrimSpace(out), "\n")
		ok := status == ExitDone && len(got) == len(tc.want)
		for i := range tc.want {
			ok = ok && strings.HasPrefix(got[i], tc.want[i])
		}
		if !ok || got[len(got)-1] != tc.want[len(tc.want)-1] {
			t.Errorf("%s: status %d, %q, want %q", tc.line, status, got, tc.want)
		}
	}
	// Where no centre answers nothing is offered, and nothing is said.
	out, _, status := call(t, map[string]string{"WATTBUS_SERVER": "http://127.0.0.1:1"}, cobra.ShellCompRequestCmd, "meters", "")
	if status != ExitDone || strings.TrimSpace(out) != ":36" {
		t.Errorf("no centre: status %d, %q", status, out)
	}
}

// What every argument and every flag is completed with; and the tables name nothing that there is not.
func TestCompletionTables(t *testing.T) {
	used := map[string]bool{}
	every(func(c *cobra.Command) {
		path := commandPath(c)
		first, _, _ := strings.Cut(path, " ")
		for _, name := range argNames(c.Use) {
			name = strings.TrimSuffix(name, "…")
			for _, key := range []string{path + " " + name, first + " " + name, name} {
				used[key] = true
			}
		}
		mark := func(f *pflag.Flag) { used["--"+f.Name], used["--"+path+" "+f.Name] = true, true }
		c.LocalFlags().VisitAll(mark)
		c.InheritedFlags().VisitAll(mark)
	})
	for key := range argCompletions {
		if !used[key] {
			t.Errorf("no command has the argument %s", key)
		}
	}
	for key := range flagCompletions {
		if !used["--"+key] {
			t.Errorf("no command has the flag %s", key)
		}
	}
}

// In a real bash: words with : and = in them are completed where bash breaks them.
func TestCompletionInBash(t *testing.T) {
	bash := need(t, "bash")
	script, errs, status := call(t, nil, "completion", "bash")
	if status != ExitDone {
		t.Fatalf("status %d: %s", status, errs)
	}
	// The program, in place of which a function answers, and what bash-completion has for it; words are broken as bash breaks them by default.
	const stand = `
wattbus() { case "${!#}" in
  M1,*) printf 'M1,M2\tonline C1\n:36\n' ;;
  path:*) printf 'path:C1/C11\n:36\n' ;;
  query:st) printf 'query:state=\n:38\n' ;;
  query:state=*) printf 'query:state=online\n:36\n' ;;
  *) printf 'query:feeder=F1,state=online\n:36\n' ;;
esac; }
_get_comp_words_by_ref() { cur="${COMP_LINE##* }"; words=(wattbus read "$cur"); cword=2; prev=read; }
__ltrim_colon_completions() { [[ $1 == *:* ]] && COMPREPLY=("${COMPREPLY[@]#"${1%"${1##*:}"}"}"); }
compopt() { :; }
`
	const show = `
for word in M1,M path:C1/C1 query:st query:state=o query:feeder=F1,state=o; do
  COMP_LINE="wattbus read $word" COMP_POINT=$((13+${#word})) COMP_TYPE=9 COMP_WORDBREAKS=$' \t\n"><=;|&(:' COMPREPLY=()
  __wattbus_behind wattbus "$word" read
  echo "$word ${COMPREPLY[*]}"
done
`
	cmd := exec.Command(bash, "--norc", "-c", stand+script+show)
	out, err := cmd.CombinedOutput()
	const want = "M1,M M1,M2\npath:C1/C1 C1/C11\nquery:st state=\nquery:state=o online\nquery:feeder=F1,state=o online\n"
	if err != nil || string(out) != want {
		t.Errorf("%v: %q, want %q", err, out, want)
	}
}
