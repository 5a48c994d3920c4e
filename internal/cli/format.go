package cli

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/dlms"
	"github.com/wattbus/wattbus/internal/dsmr"
	"github.com/wattbus/wattbus/internal/echonet"
	"github.com/wattbus/wattbus/internal/format"
	"github.com/wattbus/wattbus/internal/formats"
	"github.com/wattbus/wattbus/internal/record/descriptor"
)

// maxInput bounds what is read from files and standard input.
const maxInput = 1 << 20

func newFormat(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "format",
		Example: "  wattbus format check examples/formats/*.yaml\n  wattbus format decode --layout mine.yaml a5000012346a674f48000004d25f",
		Short:   "Check declarations of message formats, and decode and encode messages",
		Long: `Check declarations of a utility's own fixed-length layouts, and decode and encode messages of these, and of ECHONET
Lite, DSMR P1 and DLMS meters. docs/formats.md says how to declare a layout.`,
	}
	cmd.AddCommand(newFormatCheck(a), newFormatDecode(a), newFormatEncode(a))
	return cmd
}

func newFormatCheck(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "check FILE...",
		Short:   "Check declarations, and say under which event their messages come",
		Example: "  wattbus format check examples/formats/*.yaml",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			var errs []error
			for _, name := range args {
				event, err := checkDeclaration(name)
				if err != nil {
					errs = append(errs, err)
					continue
				}
				if _, err := fmt.Fprintf(a.Out, "%s: messages under up/…/%s\n", name, event); err != nil {
					return err
				}
			}
			return errors.Join(errs...)
		},
	}
}

// checkDeclaration reads a declaration and returns the event of its messages.
func checkDeclaration(name string) (event string, err error) {
	b, err := formats.ReadFile(name)
	if err != nil {
		return "", err
	}
	if event, _, err = formats.Parse(b); err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return event, nil
}

// formatChoice says of which format a message is.
type formatChoice struct {
	layout, event, keys, out string
}

func (o *formatChoice) flags(f *pflag.FlagSet) {
	f.StringVar(&o.layout, "layout", "", "declaration of the message's layout")
	f.StringVar(&o.event, "event", "", "format of the message where it needs no declaration: el (ECHONET Lite), p1 (DSMR P1) or dlms (Data-Notification)")
	f.StringVar(&o.keys, "dlms-keys", "", "key file, for messages that are enciphered; see docs/formats.md")
	f.StringVarP(&o.out, "output", "o", "text", "text, or json: what is wrong with a message as an object, too")
}

// codec decodes and encodes messages of one format, as fields in JSON and as what the centre keeps.
type codec struct {
	decode func(b []byte) (fields any, err error)
	encode func(doc []byte) ([]byte, error)
	read   func(b []byte, r *cim.MeterReading) error
}

func (o *formatChoice) codec(unit echonet.Scale) (codec, error) {
	switch {
	case o.out != "text" && o.out != "json":
		return codec{}, usagef("flag --output: value %q, want text or json", o.out)
	case (o.layout == "") == (o.event == ""):
		return codec{}, usagef("flags --layout and --event: want one of them")
	case o.layout != "":
		c, err := o.declared()
		if err != nil {
			return codec{}, fmt.Errorf("flag --layout: %w", err)
		}
		return c, nil
	case o.event == "el":
		return codec{
			func(b []byte) (any, error) {
				f, err := echonet.Decode(b)
				return f, err
			},
			func(doc []byte) ([]byte, error) {
				var f echonet.Frame
				if err := format.Unmarshal(doc, &f); err != nil {
					return nil, err
				}
				return f.Append(nil)
			},
			func(b []byte, r *cim.MeterReading) error {
				f, err := echonet.Decode(b)
				if err != nil {
					return err
				}
				return f.Read(r, &unit, uint32(time.Now().Unix()))
			}}, nil
	case o.event == formats.EventDLMS:
		return o.dlms(nil)
	case o.event == formats.EventP1:
		open, err := o.opener()
		if err != nil {
			return codec{}, err
		}
		decode := func(b []byte) (dsmr.Telegram, error) {
			if b, err = open(b); err != nil {
				return dsmr.Telegram{}, err
			}
			return dsmr.Decode(b)
		}
		return codec{
			func(b []byte) (any, error) {
				t, err := decode(b)
				return t, err
			},
			func(doc []byte) ([]byte, error) {
				var t dsmr.Telegram
				if err := format.Unmarshal(doc, &t); err != nil {
					return nil, err
				}
				return t.Append(nil)
			},
			func(b []byte, r *cim.MeterReading) error {
				t, err := decode(b)
				if err != nil {
					return err
				}
				return t.Read(r)
			}}, nil
	}
	return codec{}, usagef("flag --event: %q, want el, p1 or dlms; a layout of your own is named with --layout", o.event)
}

// declared is the codec of the declaration of --layout.
func (o *formatChoice) declared() (codec, error) {
	b, err := formats.ReadFile(o.layout)
	if err != nil {
		return codec{}, err
	}
	_, r, err := formats.Parse(b)
	if err != nil {
		return codec{}, fmt.Errorf("%s: %w", o.layout, err)
	}
	switch r := r.(type) {
	case *dlms.Layout:
		return o.dlms(r)
	case *descriptor.Layout:
		return codec{func(b []byte) (any, error) { return r.Decode(b) }, r.Encode, r.Read}, nil
	}
	// A mapping: the message is JSON already.
	plain := func(b []byte) (any, error) { return json.RawMessage(b), r.Read(b, &cim.MeterReading{}) }
	return codec{plain, func(doc []byte) ([]byte, error) { return doc, r.Read(doc, &cim.MeterReading{}) }, r.Read}, nil
}

// opener deciphers what meters of the key file enciphered.
func (o *formatChoice) opener() (func([]byte) ([]byte, error), error) {
	var keys *dlms.Keys
	if o.keys != "" {
		var err error
		if keys, err = formats.LoadKeys(o.keys); err != nil {
			return nil, fmt.Errorf("flag --dlms-keys: %w", err)
		}
	}
	return keys.OpenAny, nil
}

// dlms is the codec of Data-Notifications.
func (o *formatChoice) dlms(l *dlms.Layout) (codec, error) {
	open, err := o.opener()
	if err != nil {
		return codec{}, err
	}
	return codec{
		func(b []byte) (any, error) {
			var n dlms.Notification
			if b, err = open(b); err != nil {
				return nil, err
			}
			return &n, n.Decode(b)
		},
		func(doc []byte) ([]byte, error) {
			var n dlms.Notification
			if err := format.Unmarshal(doc, &n); err != nil {
				return nil, err
			}
			return n.Append(nil), nil
		},
		func(b []byte, r *cim.MeterReading) error {
			if b, err = open(b); err != nil {
				return err
			}
			return l.Read(b, r)
		}}, nil
}

// input takes a message from an argument: hexadecimal digits, @ and a file's name, or - for standard input.
func (a *app) input(arg string, inBase64 bool) ([]byte, error) {
	switch {
	case arg == "-":
		return readInput("standard input", a.In)
	case strings.HasPrefix(arg, "@"):
		f, err := os.Open(arg[1:])
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return readInput(arg[1:], f)
	case inBase64:
		b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(arg))
		if err != nil {
			return nil, usagef("%v", err)
		}
		return b, nil
	}
	b, err := hex.DecodeString(strings.NewReplacer(" ", "", ":", "", "\n", "").Replace(strings.TrimPrefix(arg, "0x")))
	if err != nil {
		return nil, usagef("%.40q: want hexadecimal digits, @FILE or - for standard input: %v", arg, err)
	}
	return b, nil
}

func readInput(name string, in io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(in, maxInput+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", name, err)
	case len(b) > maxInput:
		return nil, fmt.Errorf("%s: more than %d bytes, want one message", name, maxInput)
	}
	return b, nil
}

func newFormatDecode(a *app) *cobra.Command {
	var o formatChoice
	var inBase64, kept bool
	var unit string
	cmd := &cobra.Command{
		Use:   "decode MESSAGE",
		Short: "Decode a message into its fields",
		Long: `Decode a message into its fields, in JSON. MESSAGE is hexadecimal digits, @FILE, or - for standard input; files and standard
input hold the bytes as they are. What is wrong is told with the field and the offset. --kept prints what the centre would keep.`,
		Example: "  wattbus format decode --layout mine.yaml a5000012346a674f48000004d25f\n" +
			"  wattbus format decode --event el 1081000102880105FF017201E70400000278\n  wattbus format decode --event p1 @telegram.txt --kept\n" +
			"  wattbus format decode --event dlms --dlms-keys keys.txt @push.bin",
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			scale := echonet.Scale{}
			if unit != "" {
				u, err := echonet.ParseUnit(unit)
				if err != nil {
					return usagef("flag --echonet-unit: %v", err)
				}
				scale.Unit, scale.HasUnit = u, true
			}
			c, err := o.codec(scale)
			if err != nil {
				return err
			}
			b, err := a.input(args[0], inBase64)
			if err != nil {
				return err
			}
			var fields any
			if kept {
				var r cim.MeterReading
				err = c.read(b, &r)
				fields = keptView(&r)
			} else {
				fields, err = c.decode(b)
			}
			if err != nil {
				return o.refuse(a, err)
			}
			text, err := json.MarshalIndent(fields, "", "  ")
			if err != nil {
				return o.refuse(a, err)
			}
			_, err = fmt.Fprintf(a.Out, "%s\n", text)
			return err
		},
	}
	o.flags(cmd.Flags())
	cmd.Flags().BoolVar(&inBase64, "base64", false, "MESSAGE is base64")
	cmd.Flags().BoolVar(&kept, "kept", false, "print what the centre would keep")
	cmd.Flags().StringVar(&unit, "echonet-unit", "", "with --kept: kWh of a count, where the frame does not tell it")
	return cmd
}

func newFormatEncode(a *app) *cobra.Command {
	var o formatChoice
	var raw bool
	cmd := &cobra.Command{
		Use:   "encode FIELDS",
		Short: "Encode fields into a message",
		Long: `Encode fields, in JSON as decode prints them, into a message. FIELDS is JSON, @FILE, or - for standard input. Constants, fillers
and check sums may be left out. The message is printed in hexadecimal digits, or with --raw as it is.`,
		Example: `  wattbus format encode --layout mine.yaml '{"number": 1234, "time": "2026-07-27T12:30:00Z", "energy": 12340}'`,
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			c, err := o.codec(echonet.Scale{})
			if err != nil {
				return err
			}
			doc := []byte(args[0])
			switch {
			case args[0] == "-" || strings.HasPrefix(args[0], "@"):
				if doc, err = a.input(args[0], false); err != nil {
					return err
				}
			case strings.TrimSpace(args[0]) != "" && strings.IndexAny(strings.TrimSpace(args[0]), "{[") != 0:
				return usagef("%.40q: want JSON, @FILE or - for standard input", args[0])
			}
			b, err := c.encode(doc)
			if err != nil {
				return o.refuse(a, err)
			}
			if !raw {
				b = append(hex.AppendEncode(nil, b), '\n')
			}
			_, err = a.Out.Write(b)
			return err
		},
	}
	o.flags(cmd.Flags())
	cmd.Flags().BoolVar(&raw, "raw", false, "print the bytes as they are")
	return cmd
}

// refuse reports what is wrong with a message, with -o json as an object.
func (o *formatChoice) refuse(a *app, err error) error {
	if o.out != "json" {
		return err
	}
	doc := struct {
		Error  string `json:"error"`
		Reason string `json:"reason"`
		Field  string `json:"field,omitempty"`
		Line   int    `json:"line,omitempty"`
		Offset *int   `json:"offset,omitempty"`
	}{Error: err.Error(), Reason: format.Reason(err)}
	var e *format.Error
	if errors.As(err, &e) {
		doc.Field, doc.Line, doc.Offset = e.Field, e.Line, &e.Offset
	}
	text, merr := json.Marshal(doc)
	if merr != nil {
		return errors.Join(err, merr)
	}
	if _, werr := fmt.Fprintf(a.Out, "%s\n", text); werr != nil {
		return werr
	}
	return errReported
}

// keptView is a reading in words.
func keptView(r *cim.MeterReading) any {
	type view map[string]any
	moment := func(t uint32) any {
		if t == 0 {
			return "when it comes"
		}
		return time.Unix(int64(t), 0).UTC()
	}
	out := view{}
	var list []view
	for _, m := range r.Measurements {
		v := view{"time": moment(m.Time)}
		for has, x := range map[cim.Values]view{cim.HasImport: {"import": m.Import}, cim.HasExport: {"export": m.Export}, cim.HasPower: {"power": m.Power},
			cim.HasVoltage: {"voltage": json.Number(fmt.Sprintf("%d.%d", m.Voltage/10, m.Voltage%10))}, cim.HasBreaker: {"breaker": m.Breaker.String()}} {
			if m.Has&has != 0 {
				for k, y := range x {
					v[k] = y
				}
			}
		}
		if m.Flags != 0 {
			v["flags"] = m.Flags
		}
		if m.Interval != 0 {
			v["interval"] = m.Interval
		}
		list = append(list, v)
	}
	if list != nil {
		out["measurements"] = list
	}
	list = nil
	for _, b := range r.Blocks {
		values := make([]*uint32, len(b.Values))
		for i := range b.Values {
			if b.Values[i] != cim.NoValue {
				values[i] = &b.Values[i]
			}
		}
		v := view{"channel": b.Channel.String(), "start": moment(b.Start), "minutes": b.Slot, "values": values}
		if b.Register != cim.NoRegister {
			v["register"] = b.Register
		}
		list = append(list, v)
	}
	if list != nil {
		out["profiles"] = list
	}
	for _, s := range r.Supply {
		out["power"] = [...]string{"", "lost", "restored", "battery low"}[min(s, cim.BatteryLow)]
	}
	list = nil
	for _, e := range r.Events {
		list = append(list, view{"time": moment(e.Time), "code": e.Code, "parameter": e.Parameter})
	}
	if list != nil {
		out["events"] = list
	}
	list = nil
	for _, s := range r.Subs {
		list = append(list, view{"id": s.Name(), "channel": s.Channel, "medium": s.Medium.String(), "time": moment(s.Time), "value": s.Decimal(), "unit": s.Unit.String()})
	}
	if list != nil {
		out["submeters"] = list
	}
	return out
}
