package connector

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/topic"
)

// Events are the names of events that a target may want.
var Events = []string{api.EventReading, api.EventProfile, api.EventState, api.EventConcentrator, api.EventCommand, api.EventOutage, api.EventFirmware, api.EventDevice, api.EventSubMeter}

// The encodings of a CloudEvent.
const (
	Structured = "structured" // all of it as one JSON document
	Binary     = "binary"     // the data as the message, the rest in its headers or properties
)

// Spec is a target as a file declares it.
type Spec struct {
	Name     string   `yaml:"name"`
	Type     string   `yaml:"type"`
	URL      string   `yaml:"url"`
	Address  string   `yaml:"address"`  // where to on the other side: a destination, topic or subject; may hold {kind}, {name}, {id}
	Events   []string `yaml:"events"`   // of Events
	Filter   Filter   `yaml:"filter"`   // none: all devices
	Encoding string   `yaml:"encoding"` // default: structured
	Paused   bool     `yaml:"paused"`   // it keeps its place and gets nothing

	Username     string `yaml:"username"`
	PasswordFile string `yaml:"password-file"`
	PasswordEnv  string `yaml:"password-env"`
	TLS          TLS    `yaml:"tls"`
	// Timeout is how long the other side may take to answer; default 30 s.
	Timeout Duration `yaml:"timeout"`

	Files    *Files    `yaml:"files"`
	Kafka    *Kafka    `yaml:"kafka"`
	MQTT     *MQTT     `yaml:"mqtt"`
	NATS     *NATS     `yaml:"nats"`
	Commands *Commands `yaml:"commands"` // it sends commands, too
	Webhook  *Webhook  `yaml:"webhook"`
}

// Filter selects devices. Every part that is set must match.
type Filter struct {
	Kinds  []string `yaml:"kinds"`
	Paths  []string `yaml:"paths"`  // devices at or below one of these concentrators
	Meters []string `yaml:"meters"` // ids of devices
}

// TLS names files in PEM, for URLs whose scheme says that there is TLS.
type TLS struct {
	CA         string `yaml:"ca"` // authorities; none: those of the machine
	Cert       string `yaml:"cert"`
	Key        string `yaml:"key"`
	ServerName string `yaml:"server-name"`
}

// Files are the settings of type files.
type Files struct {
	Dir         string   `yaml:"dir"`
	Format      string   `yaml:"format"`       // jsonl (default) or parquet
	RotateEvery Duration `yaml:"rotate-every"` // default 1h
	RotateBytes int64    `yaml:"rotate-bytes"` // of JSON lines; default 256 MiB
	Keep        int      `yaml:"keep"`         // finished files; older ones are removed. 0: all
}

// Kafka are the settings of type kafka.
type Kafka struct {
	SASL       string `yaml:"sasl"`        // with a user name: scram-sha-512 (default), scram-sha-256 or plain
	BatchBytes int    `yaml:"batch-bytes"` // the largest batch of records; default 1,000,000
}

// MQTT are the settings of type mqtt.
type MQTT struct {
	Version string `yaml:"version"` // 5 (default) or 3.1.1
	Retain  bool   `yaml:"retain"`  // the server keeps the last event of each topic
}

// NATS are the settings of type nats.
type NATS struct {
	Core        bool   `yaml:"core"`             // no stream: who does not subscribe at the moment misses the event
	Credentials string `yaml:"credentials-file"` // of a user: JWT and key
}

// Webhook are the settings of type webhook.
type Webhook struct {
	SecretFile string `yaml:"secret-file"`
	SecretEnv  string `yaml:"secret-env"`
	Parallel   int    `yaml:"parallel"` // requests at once, of different devices; default 4
}

// Duration is a time.Duration as text, such as 30s or 1h.
type Duration time.Duration

// UnmarshalYAML implements yaml.Unmarshaler.
func (d *Duration) UnmarshalYAML(n *yaml.Node) error {
	v, err := time.ParseDuration(n.Value)
	if err != nil || v <= 0 {
		return fmt.Errorf("line %d: %q, want a duration above 0 such as 30s or 1h", n.Line, n.Value)
	}
	*d = Duration(v)
	return nil
}

// document is a file of targets.
type document struct {
	Targets []Spec `yaml:"targets"`
}

// maxTargets bounds a file.
const maxTargets = 64

// Load reads a file of targets and checks it; an error names the file, the target and the field. Secrets are not read here.
func Load(file string) ([]Spec, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("targets: %w", err)
	}
	specs, err := Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return specs, nil
}

// Parse is Load for what a file holds.
func Parse(text []byte) ([]Spec, error) {
	var doc document
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(&doc); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if err := dec.Decode(&doc); !errors.Is(err, io.EOF) {
		return nil, errors.New("want one document with a list \"targets\"")
	}
	if len(doc.Targets) > maxTargets {
		return nil, fmt.Errorf("%d targets, want at most %d", len(doc.Targets), maxTargets)
	}
	names := map[string]bool{}
	for i := range doc.Targets {
		s := &doc.Targets[i]
		if err := s.check(); err != nil {
			name := s.Name
			if name == "" {
				name = fmt.Sprintf("number %d", i+1)
			}
			return nil, fmt.Errorf("target %.64s: %w", name, err)
		}
		if names[s.Name] {
			return nil, fmt.Errorf("target %s: there are two of this name", s.Name)
		}
		names[s.Name] = true
	}
	return doc.Targets, nil
}

var goodName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)

// check fills in defaults and refuses what cannot work.
func (s *Spec) check() error {
	if !goodName.MatchString(s.Name) {
		return fmt.Errorf("name: %.40q, want 1 to 32 of a-z, 0-9 and -", s.Name)
	}
	k, ok := kinds[s.Type]
	if !ok {
		return fmt.Errorf("type: %.40q, want one of %s", s.Type, strings.Join(Types(), ", "))
	}
	if s.Commands != nil {
		if k.source == nil {
			return fmt.Errorf("commands: type %s sends none", s.Type)
		}
		if s.Commands.Address == "" {
			return errors.New("commands.address: want where requests come from")
		}
		if s.Commands.Window == 0 {
			s.Commands.Window = 100
		}
		if s.Commands.Window < 1 || s.Commands.Window > 10_000 {
			return fmt.Errorf("commands.window: %d, want 1 to 10000", s.Commands.Window)
		}
	}
	if len(s.Events) == 0 && (s.Commands == nil || s.Address != "") {
		return fmt.Errorf("events: none, want some of %s", strings.Join(Events, ", "))
	}
	for i, e := range s.Events {
		if !slices.Contains(Events, e) || slices.Contains(s.Events[:i], e) {
			return fmt.Errorf("events: %.40q, want some of %s, each once", e, strings.Join(Events, ", "))
		}
	}
	switch s.Encoding {
	case "":
		s.Encoding = Structured
	case Structured, Binary:
	default:
		return fmt.Errorf("encoding: %.40q, want structured or binary", s.Encoding)
	}
	for _, p := range s.Filter.Paths {
		if err := topic.CheckPath(p); p == "" || err != nil {
			return fmt.Errorf("filter.paths: %.40q, want ids of concentrators, outermost first, joined by /", p)
		}
	}
	for _, m := range s.Filter.Meters {
		if err := topic.CheckID(m); err != nil {
			return fmt.Errorf("filter.meters: %w", err)
		}
	}
	if s.PasswordFile != "" && s.PasswordEnv != "" {
		return errors.New("password-file and password-env: want one of them")
	}
	if (s.TLS.Cert == "") != (s.TLS.Key == "") {
		return errors.New("tls.cert and tls.key: want both or neither")
	}
	if s.Timeout == 0 {
		s.Timeout = Duration(30 * time.Second)
	}
	if (s.Files != nil) != (s.Type == "files") {
		return errors.New("files: want these settings with type files, and only there")
	}
	if s.Webhook != nil && s.Type != "webhook" {
		return errors.New("webhook: these settings are of type webhook")
	}
	if s.Kafka != nil && s.Type != "kafka" {
		return errors.New("kafka: these settings are of type kafka")
	}
	if s.MQTT != nil && s.Type != "mqtt" {
		return errors.New("mqtt: these settings are of type mqtt")
	}
	if s.NATS != nil && s.Type != "nats" {
		return errors.New("nats: these settings are of type nats")
	}
	if err := s.checkURL(k); err != nil {
		return err
	}
	if s.Address != "" && !k.address || s.Address == "" && k.address && len(s.Events) > 0 {
		return fmt.Errorf("address: %.40q, want one where the type has them (%s): %s", s.Address, s.Type, k.addressHelp)
	}
	if _, err := parseAddress(s.Address); err != nil {
		return fmt.Errorf("address: %w", err)
	}
	return k.check(s)
}

func (s *Spec) checkURL(k kind) error {
	if len(k.schemes) == 0 {
		if s.URL != "" {
			return fmt.Errorf("url: type %s has none", s.Type)
		}
		return nil
	}
	one := "host:port"
	if k.many {
		one = "host:port[,host:port…]"
	}
	scheme, rest, ok := strings.Cut(s.URL, "://")
	all := []string{rest}
	if k.many {
		all = strings.Split(rest, ",")
	}
	for _, server := range all {
		u, err := url.Parse(scheme + "://" + server)
		if !ok || err != nil || !slices.Contains(k.schemes, u.Scheme) || u.Hostname() == "" || k.many && (u.Path != "" || u.RawQuery != "") {
			return fmt.Errorf("url: %.80q, want %s://%s", Redacted(s.URL), strings.Join(k.schemes, ":// or "), one)
		}
		if u.User != nil {
			return errors.New("url: it holds a user name; give username and password-file or password-env")
		}
	}
	return nil
}

// servers are those that a URL lists, of a type that can have many.
func (s *Spec) servers(port string) []string {
	_, rest, _ := strings.Cut(s.URL, "://")
	all := strings.Split(rest, ",")
	for i, h := range all {
		if u, err := url.Parse("//" + h); err == nil && u.Port() == "" { // it was checked
			all[i] = net.JoinHostPort(u.Hostname(), port)
		}
	}
	return all
}

var urlUser = regexp.MustCompile(`://[^/@]*@`)

// Redacted is a URL without what may be secret in it.
func Redacted(s string) string {
	s, _, _ = strings.Cut(s, "?")
	return urlUser.ReplaceAllString(s, "://…@")
}

// secret reads a password or key from where the spec says it is; "" when it says nowhere.
func secret(field, file, env string) (string, error) {
	switch {
	case file != "":
		text, err := os.ReadFile(file)
		if err != nil {
			return "", fmt.Errorf("%s-file: %w", field, err)
		}
		return strings.TrimRight(string(text), "\r\n"), nil
	case env != "":
		v, ok := os.LookupEnv(env)
		if !ok {
			return "", fmt.Errorf("%s-env: the environment has no %.64s", field, env)
		}
		return v, nil
	}
	return "", nil
}

// kind is a type of target.
type kind struct {
	schemes     []string
	many        bool // the URL may name several servers
	address     bool
	addressHelp string
	check       func(*Spec) error
	open        func(*Spec, *deps) (target, error) // starts nothing and connects to nothing
	source      func(*Spec, *deps) (source, error) // the same; nil: no commands come from it
}

// kinds are the types of targets by name. It is filled here, in one place, so that the list can be read.
var kinds map[string]kind

func init() {
	kinds = map[string]kind{
		"amqp":    amqpKind,
		"files":   filesKind,
		"kafka":   kafkaKind,
		"mqtt":    mqttKind,
		"nats":    natsKind,
		"stomp":   stompKind,
		"webhook": webhookKind,
	}
}

// Types lists the types of targets.
func Types() []string {
	out := make([]string, 0, len(kinds))
	for n := range kinds {
		out = append(out, n)
	}
	slices.Sort(out)
	return out
}
