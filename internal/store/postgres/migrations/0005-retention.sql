-- What is kept for a while only is found by these.
CREATE INDEX block_superseding ON block (recorded) WHERE version > 1;
CREATE INDEX command_closed ON command (created) WHERE NOT open;
