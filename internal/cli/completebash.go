package cli

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// bashBehind completes the rest of words such as query:state=online: where bash breaks words at : and = (COMP_WORDBREAKS), it puts what it
// is offered behind the last of them, and the library allows for a word with one of the two only. It also quotes commas, which need none
// here, and so lets lists end.
const bashBehind = `
__wattbus_behind()
{
    __start_wattbus "$@"
    COMPREPLY=("${COMPREPLY[@]//\\,/,}")
    local cur="${COMP_LINE:0:COMP_POINT}" prefix
    cur="${cur##*[[:space:]]}"
    if [[ $cur != -* && $cur == *=* && $COMP_WORDBREAKS == *=* ]]; then
        prefix="${cur##*:}"
        prefix="${prefix%"${prefix##*=}"}"
        COMPREPLY=("${COMPREPLY[@]#"$prefix"}")
    fi
}
`

// completeBash has "completion bash" write the library's script with bashBehind in it.
func completeBash(root, bash *cobra.Command) {
	bash.RunE = func(cmd *cobra.Command, _ []string) error {
		bare, err := cmd.Flags().GetBool("no-descriptions")
		if err != nil {
			return err
		}
		var script bytes.Buffer
		if err := root.GenBashCompletionV2(&script, !bare); err != nil {
			return err
		}
		const quotes = `[[ $comp == "$cur"* ]]`
		const begin, calls = "if [[ $(type -t compopt) = \"builtin\" ]]; then\n    complete ", "-F __start_wattbus wattbus"
		body, end, ok := strings.Cut(script.String(), begin)
		if !ok || strings.Count(end, calls) != 2 || strings.Count(body, quotes) != 1 {
			return fmt.Errorf("the library's script for bash is not as it was")
		}
		body = strings.Replace(body, quotes, `[[ ${comp//\\,/,} == "$cur"* ]]`, 1)
		_, err = io.WriteString(cmd.Root().OutOrStdout(), body+bashBehind+"\n"+begin+strings.ReplaceAll(end, calls, "-F __wattbus_behind wattbus"))
		return err
	}
}
