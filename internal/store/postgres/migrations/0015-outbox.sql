-- Events for other systems, from the commit that they tell of until they are on the bus.
CREATE TABLE outbox (id bigint PRIMARY KEY, data bytea NOT NULL);
