package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
)

// applicationID stands in the header of our databases ("WBMQ"), so that those of other
// programs are not taken for them.
const applicationID = 0x57424d51

// schemaVersion stands beside it, as user_version.
const schemaVersion = 2

// schema of version 1. It is never changed, only followed by migrations.
const schema = `
CREATE TABLE session (
	nr INTEGER PRIMARY KEY, client_id TEXT NOT NULL, user TEXT NOT NULL,
	expiry INTEGER NOT NULL,   -- ns; negative: never
	left_at INTEGER NOT NULL   -- since when it is not connected, Unix ms; 0: it is
);
CREATE TABLE subscription (
	session INTEGER NOT NULL, filter TEXT NOT NULL, options INTEGER NOT NULL, PRIMARY KEY (session, filter)
) WITHOUT ROWID;
CREATE TABLE received (
	session INTEGER NOT NULL, packet_id INTEGER NOT NULL, done INTEGER NOT NULL, PRIMARY KEY (session, packet_id)
) WITHOUT ROWID;
CREATE TABLE message (
	id INTEGER PRIMARY KEY, topic TEXT NOT NULL, payload BLOB, properties BLOB,
	expires INTEGER NOT NULL   -- Unix ms; 0: never
);
CREATE TABLE item (
	seq INTEGER PRIMARY KEY, session INTEGER NOT NULL, message INTEGER NOT NULL,
	flags INTEGER NOT NULL,    -- QoS, 4: RETAIN, 8: sent
	position INTEGER NOT NULL, ids BLOB, share TEXT NOT NULL
);
`

// migrations lead from the version before, the first from version 1.
var migrations = []string{`
ALTER TABLE session ADD COLUMN unsent INTEGER NOT NULL DEFAULT 0;   -- the first item that was never sent; 0: not known
ALTER TABLE session ADD COLUMN outgoing INTEGER NOT NULL DEFAULT 0; -- 1: a bridge's queue, no client's session
CREATE TABLE will (
	id INTEGER PRIMARY KEY, session INTEGER NOT NULL, client_id TEXT NOT NULL, user TEXT NOT NULL,
	due INTEGER NOT NULL,      -- Unix ms; 0: its client is connected
	version INTEGER NOT NULL,  -- of MQTT
	delay INTEGER NOT NULL,    -- ns
	topic TEXT NOT NULL, payload BLOB,
	flags INTEGER NOT NULL,    -- QoS, 4: RETAIN
	properties BLOB,
	expiry INTEGER NOT NULL    -- s from when it goes out; negative: never
);
`}

// ErrForeign is returned for a database that is not ours.
var ErrForeign = errors.New("not a database of broker sessions")

// ErrNewer is returned for a database of a later version of the program.
var ErrNewer = errors.New("made by a newer program")

// ErrCorrupt is returned for a database that is damaged.
var ErrCorrupt = errors.New("damaged")

// check refuses a database that is damaged, or that another program made, before
// anything in it is changed. It returns the version of its schema, 0 for one with nothing in it.
func check(ctx context.Context, path string) (version int, err error) {
	if fi, err := os.Stat(path); errors.Is(err, os.ErrNotExist) || err == nil && fi.Size() == 0 {
		return 0, nil
	}
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?mode=ro&_pragma=busy_timeout(10000)")
	if err != nil {
		return 0, fmt.Errorf("broker store %s: %w", path, err)
	}
	defer func() { _ = db.Close() }() // was only read
	var id, tables int
	for q, p := range map[string]*int{
		`PRAGMA application_id`: &id, `PRAGMA user_version`: &version, `SELECT count(*) FROM sqlite_master`: &tables,
	} {
		if err := db.QueryRowContext(ctx, q).Scan(p); err != nil {
			return 0, fmt.Errorf("broker store %s: %w: %w; move it away to begin with nothing", path, ErrCorrupt, err)
		}
	}
	switch {
	case id == 0 && version == 0 && tables == 0: // its making was cut short
		return 0, nil
	case id != applicationID:
		return 0, fmt.Errorf("broker store %s: %w: application id %#x; give another directory, or move the file away", path, ErrForeign, id)
	case version > schemaVersion:
		return 0, fmt.Errorf("broker store %s: %w: schema version %d, this program knows versions up to %d; run the program that wrote it, or a newer one",
			path, ErrNewer, version, schemaVersion)
	}
	var result string
	if err := db.QueryRowContext(ctx, `PRAGMA quick_check(1)`).Scan(&result); err != nil {
		return 0, fmt.Errorf("broker store %s: %w: %w; move it away to begin with nothing", path, ErrCorrupt, err)
	}
	if result != "ok" {
		return 0, fmt.Errorf("broker store %s: %w: %s; move it away to begin with nothing", path, ErrCorrupt, result)
	}
	return version, nil
}

// migrate brings the tables from a version to this one's, all or none.
func migrate(ctx context.Context, db *sql.DB, from int) error {
	if from == schemaVersion {
		return nil
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	var steps []string
	if from == 0 {
		steps, from = append(steps, schema, fmt.Sprintf("PRAGMA application_id = %d", applicationID)), 1
	}
	steps = append(append(steps, migrations[from-1:]...), fmt.Sprintf("PRAGMA user_version = %d", schemaVersion))
	for _, q := range steps {
		if _, err := tx.ExecContext(ctx, q); err != nil {
			return err
		}
	}
	return tx.Commit()
}
