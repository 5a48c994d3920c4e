-- The registry, as parts that only package mdms/registry can read; it is never changed, only added to.
CREATE TABLE registry (id INTEGER PRIMARY KEY AUTOINCREMENT, data BLOB NOT NULL);
