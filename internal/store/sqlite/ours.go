package sqlite

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/wattbus/wattbus/internal/store"
)

// applicationID stands in the header of our databases ("WATB"), so that those of other programs are not taken for them.
const applicationID = 0x57415442

// checkOurs refuses a database that another program made, before anything in it is changed. Ours from before schema version 3
// have no application id and are known by their tables.
func checkOurs(ctx context.Context, path string) error {
	if fi, err := os.Stat(path); errors.Is(err, os.ErrNotExist) || err == nil && fi.Size() == 0 {
		return nil // it is about to be made
	}
	if ours, err := hasOurID(path); err != nil || ours {
		return err
	}
	id, names, err := identify(ctx, path, "ro")
	var se *sqlite.Error
	if errors.As(err, &se) && se.Code()&0xff == sqlite3.SQLITE_READONLY {
		// The power was cut in the middle of a change, which has to be undone first, as its own program would.
		id, names, err = identify(ctx, path, "rw")
	}
	if err != nil {
		return fmt.Errorf("store %s: open: %w", path, err)
	}
	if id == applicationID {
		return nil
	}
	tables := strings.Fields(names)
	ours := map[string]bool{}
	for _, t := range tables {
		ours[t] = true
	}
	switch {
	case id != 0:
	case len(tables) == 0 || len(tables) == 1 && ours["schema_version"]: // empty, or its making was cut short
		return nil
	case ours["schema_version"] && ours["location"] && ours["device"] && ours["chunk"] && ours["block"]:
		return nil
	}
	return fmt.Errorf("store %s: %w: application id %#x, tables %.80q; give another path, or move the file away", path, store.ErrForeign, id, names)
}

// hasOurID looks at the header alone, at byte 68 of the file.
func hasOurID(path string) (ours bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return false, fmt.Errorf("store %s: %w", path, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	var id [4]byte
	if _, err := f.ReadAt(id[:], 68); err != nil {
		return false, nil // too short to be a database: SQLite says so in better words
	}
	return binary.BigEndian.Uint32(id[:]) == applicationID, nil
}

// identify reads the application id and the names of the tables.
func identify(ctx context.Context, path, mode string) (id int64, tables string, err error) {
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?mode="+mode+"&_pragma=busy_timeout(10000)")
	if err != nil {
		return 0, "", err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	err = db.QueryRowContext(ctx, `SELECT application_id, coalesce((SELECT group_concat(name, ' ') FROM sqlite_master WHERE type = 'table'), '')
		FROM pragma_application_id`).Scan(&id, &tables)
	return id, tables, err
}
