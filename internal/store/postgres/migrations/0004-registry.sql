-- The registry, as parts that only package mdms/registry can read; it is never changed, only added to.
CREATE TABLE registry (id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY, data bytea NOT NULL);
