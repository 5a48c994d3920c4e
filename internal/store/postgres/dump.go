package postgres

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strings"

	"github.com/jackc/pgx/v5"
)

// ErrNoDump is returned where pg_dump is not installed.
var ErrNoDump = errors.New("pg_dump is not installed")

// Dump has pg_dump write the schema of the store, as it is at one moment, to the new file to, in its custom format. The
// password goes by the environment, where others do not see it.
func Dump(ctx context.Context, storeURL, to string) error {
	program, err := exec.LookPath("pg_dump")
	if err != nil {
		return fmt.Errorf("store: %w: install PostgreSQL's client programs, or copy the database by other means after the bus", ErrNoDump)
	}
	c, err := pgx.ParseConfig(storeURL)
	if err != nil {
		return fmt.Errorf("store: %w; want postgres://user:password@host:port/database", err)
	}
	args := []string{"--format=custom", "--no-owner", "--no-privileges", "--file=" + to}
	if s := c.RuntimeParams["search_path"]; s != "" {
		args = append(args, "--schema="+s)
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), "PGHOST="+c.Host, fmt.Sprintf("PGPORT=%d", c.Port), "PGDATABASE="+c.Database, "PGUSER="+c.User, "PGPASSWORD="+c.Password)
	if u, err := url.Parse(storeURL); err == nil {
		for _, p := range []string{"sslmode", "sslrootcert", "sslcert", "sslkey"} {
			if v := u.Query().Get(p); v != "" {
				cmd.Env = append(cmd.Env, "PG"+strings.ToUpper(p)+"="+v)
			}
		}
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("store %s:%d/%s: pg_dump: %w: %s", c.Host, c.Port, c.Database, err, strings.TrimSpace(string(out)))
	}
	return nil
}
