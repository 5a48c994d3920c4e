package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/wattbus/wattbus/internal/auth"
)

func newPasswd(a *app) *cobra.Command {
	var remove, scram bool
	cmd := &cobra.Command{
		Use:   "passwd FILE USER",
		Short: "Put a user's password into a password file, or take a user out",
		Long: `Put a user into a password file for --passwords, or give one who is there a new password. The password is asked for twice on
a terminal, or else read from the first line of standard input; it is never an argument, which others could see. The file
holds bcrypt hashes ($2…); one that is not there is made, for its owner alone. Files of mosquitto_passwd are understood, too: PBKDF2
($7$…) and the plain SHA-512 of its version 1.6 ($6$…), which is quickly guessed if the file is stolen.

Clients of MQTT 5 can prove a password without sending it, by the authentication methods SCRAM-SHA-256, with entries made with
--scram, and SCRAM-SHA-512, with PBKDF2 entries of mosquitto_passwd. Both kinds serve passwords that are sent as well.

A broker that runs reads the file again within a few seconds, or at SIGHUP.`,
		Example: "  wattbus passwd passwords alice\n  openssl rand -base64 24 | tee M1.password | wattbus passwd passwords M1\n  wattbus passwd passwords alice --delete",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			file, user := args[0], args[1]
			if err := auth.CheckUser(user); err != nil {
				return &usageError{err: err}
			}
			if remove {
				deleted, err := auth.DeleteUser(file, user)
				if err == nil && !deleted {
					err = fmt.Errorf("%s holds no user %q", file, user)
				}
				if err != nil {
					return err
				}
				_, err = fmt.Fprintf(a.Out, "%s taken out of %s\n", user, file)
				return err
			}
			password, err := a.readPassword(cmd.Context(), user)
			if err != nil {
				return err
			}
			added, err := auth.SetPassword(file, user, password, scram)
			if err != nil {
				return err
			}
			what := "has a new password in"
			if added {
				what = "added to"
			}
			_, err = fmt.Fprintf(a.Out, "%s %s %s\n", user, what, file)
			return err
		},
	}
	cmd.Flags().BoolVar(&scram, "scram", false, "an entry with which clients of MQTT 5 can also prove the password without sending it (SCRAM-SHA-256)")
	cmd.Flags().BoolVar(&remove, "delete", false, "take the user out of the file")
	return cmd
}

var errPasswords = errors.New("the passwords differ")

// readPassword asks on a terminal, or reads a line.
func (a *app) readPassword(ctx context.Context, user string) ([]byte, error) {
	f, ok := a.In.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		if a.In == nil {
			return nil, auth.ErrPassword
		}
		line, err := bufio.NewReader(io.LimitReader(a.In, 4096)).ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("reading the password: %w", err)
		}
		return bytes.TrimRight(line, "\r\n"), nil
	}
	shown, err := term.GetState(int(f.Fd()))
	if err != nil {
		return nil, fmt.Errorf("reading the password: %w", err)
	}
	ask := func(prompt string) ([]byte, error) {
		fmt.Fprint(a.Err, prompt)
		var p []byte
		var err error
		typed := make(chan struct{})
		go func() { // a read of a terminal cannot be ended; where it is not waited for the process ends
			defer close(typed)
			p, err = term.ReadPassword(int(f.Fd()))
		}()
		select {
		case <-typed:
			fmt.Fprintln(a.Err)
		case <-ctx.Done():
			fmt.Fprintln(a.Err)
			return nil, errors.Join(ctx.Err(), term.Restore(int(f.Fd()), shown)) // which else would show nothing that is typed
		}
		if err != nil {
			return nil, fmt.Errorf("reading the password: %w", err)
		}
		return p, nil
	}
	first, err := ask("Password of " + user + ": ")
	if err != nil {
		return nil, err
	}
	second, err := ask("Once more: ")
	if err == nil && !bytes.Equal(first, second) {
		err = errPasswords
	}
	return first, err
}
