package cli

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wattbus/wattbus/internal/reload"
	"github.com/wattbus/wattbus/internal/seal"
)

// readKeyFile reads the keys of sealed messages. It warns of a file that others can read.
func readKeyFile(path string, log *slog.Logger) (*seal.Keys, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	if info, err := f.Stat(); err == nil && info.Mode().Perm()&0o077 != 0 && log != nil {
		log.Warn("key file can be read by others than its owner", "path", path, "mode", info.Mode().Perm().String())
	}
	k, err := seal.ReadKeys(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return k, nil
}

// watchKeys loads a key file into f now, and gives what loads it anew.
func watchKeys(path string, log *slog.Logger, f func(*seal.Keys)) (reload.Source, error) {
	load := func() error {
		k, err := readKeyFile(path, log)
		if err == nil {
			f(k)
		}
		return err
	}
	return reload.Source{Name: "keys of sealed messages", Files: []string{path}, Load: load}, load()
}

func newKeys(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "keys",
		Short: "Make and change the keys of sealed messages",
		Long: `Make and change key files, for wattbus center --keys and wattbus meter --key-file. A key belongs to a meter (its id), to all meters
(all) or to a group (group:12). A meter's keys have ids 00 to 7f, shared ones 80 to ff; each new one of a name takes the next id.

A new key comes into force by itself: add it at the centre, which then understands it; bring it to the meter, which seals with its newest
one; from then on the centre answers with that. Then drop the old one at both. Both read their files again when they change.`,
		Example: "  wattbus keys add keys M1 M2\n  wattbus keys add keys all group:12\n  (umask 077; wattbus keys export keys M1 > M1.key)\n  wattbus center --keys keys\n  wattbus meter --id M1 --key-file M1.key",
	}
	cmd.AddCommand(newKeysAdd(a), newKeysDrop(a), newKeysExport(a), newKeysList(a))
	return cmd
}

func newKeysAdd(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "add FILE NAME…", Example: "  wattbus keys add keys M1 M2\n  wattbus keys add keys all group:12",
		Short: "Give meters, groups or all a new key each", Args: cobra.MinimumNArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			k, err := readKeyFile(args[0], nil)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			entries, err := withNewKeys(k.Entries(), args[1:])
			if err != nil {
				return err
			}
			if err := writeKeyFile(args[0], entries); err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.Out, "%s added to %s\n", keysText(len(args)-1), args[0])
			return err
		},
	}
}

func keysText(n int) string {
	if n == 1 {
		return "1 key"
	}
	return fmt.Sprintf("%d keys", n)
}

// withNewKeys gives each name a new key, behind those that it has.
func withNewKeys(entries []seal.Entry, names []string) ([]seal.Entry, error) {
	newest := map[string]byte{}
	for _, e := range entries {
		newest[e.Name] = max(newest[e.Name], e.ID)
	}
	for _, name := range names {
		e := seal.Entry{Name: name}
		if name == seal.All || strings.HasPrefix(name, "group:") {
			e.ID = seal.FirstShared
		}
		last := byte(0x7f) | e.ID
		if id, ok := newest[name]; ok {
			if id == last {
				return nil, fmt.Errorf("%s has key %02x, the last id that there is", name, last)
			}
			e.ID = max(e.ID, id+1)
		}
		newest[name] = e.ID
		_, _ = rand.Read(e.Key[:]) // never fails
		entries = append(entries, e)
	}
	return entries, nil
}

// makeKeys adds a key for each name that a key file has none of, and makes the file if there is none. It returns how many it added.
func makeKeys(path string, names []string) (int, error) {
	k, err := readKeyFile(path, nil)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	missing := slices.DeleteFunc(slices.Clone(names), k.Has)
	if len(missing) == 0 {
		return 0, nil
	}
	entries, err := withNewKeys(k.Entries(), missing)
	if err != nil {
		return 0, err
	}
	return len(missing), writeKeyFile(path, entries)
}

func newKeysDrop(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "drop FILE NAME…", Example: "  wattbus keys drop keys M1",
		Short: "Take out all keys but the newest of each", Args: cobra.MinimumNArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			k, err := readKeyFile(args[0], nil)
			if err != nil {
				return err
			}
			for _, name := range args[1:] {
				if !k.Has(name) {
					return fmt.Errorf("%s holds no key of %.40q", args[0], name)
				}
			}
			all := k.Entries()
			kept := slices.DeleteFunc(slices.Clone(all), func(e seal.Entry) bool {
				last, _, _ := k.Last(e.Name)
				return slices.Contains(args[1:], e.Name) && e.ID != last
			})
			if err := writeKeyFile(args[0], kept); err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.Out, "%s taken out of %s\n", keysText(len(all)-len(kept)), args[0])
			return err
		},
	}
}

func newKeysExport(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "export FILE METER", Example: "  (umask 077; wattbus keys export keys M1 > M1.key)",
		Short: "Print what a meter has to have: its own keys and the shared ones", Args: cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			k, err := readKeyFile(args[0], nil)
			if err != nil {
				return err
			}
			if id, _, ok := k.First(args[1]); !ok || id >= seal.FirstShared {
				return fmt.Errorf("%s holds no key of a meter %.40q", args[0], args[1])
			}
			for _, e := range k.For(args[1]).Entries() {
				if _, err := fmt.Fprintln(a.Out, e.Line()); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func newKeysList(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "list FILE", Example: "  wattbus keys list keys",
		Short: "Print whose keys a file holds, and their ids, not the keys", Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			k, err := readKeyFile(args[0], nil)
			if err != nil {
				return err
			}
			last := ""
			for _, e := range k.Entries() {
				end := "\n"
				if e.Name == last || last == "" {
					end = ""
				}
				if e.Name != last {
					_, err = fmt.Fprintf(a.Out, "%s%s", end, e.Name)
				}
				if last = e.Name; err == nil {
					_, err = fmt.Fprintf(a.Out, " %02x", e.ID)
				}
				if err != nil {
					return err
				}
			}
			_, err = fmt.Fprintln(a.Out)
			return err
		},
	}
}

// writeKeyFile puts a file for the owner alone in the place of the present one.
func writeKeyFile(path string, entries []seal.Entry) (err error) {
	if _, err := seal.NewKeys(entries); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".keys-*.tmp") // mode 0600
	if err != nil {
		return err
	}
	var text strings.Builder
	for _, e := range entries {
		text.WriteString(e.Line() + "\n")
	}
	_, err = f.WriteString(text.String())
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
