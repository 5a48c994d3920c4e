-- The audit trail, see package audit. The triggers keep mistakes off; against intent there are the hashes.
CREATE TABLE audit (sequence bigint PRIMARY KEY, hash bytea NOT NULL, doc bytea NOT NULL);
CREATE FUNCTION audit_only_added() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE EXCEPTION 'the audit trail is only added to';
END $$;
CREATE TRIGGER audit_only_added BEFORE UPDATE OR DELETE OR TRUNCATE ON audit FOR EACH STATEMENT EXECUTE FUNCTION audit_only_added();
