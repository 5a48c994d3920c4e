-- Events for other systems, from the commit that they tell of until they are on the bus.
CREATE TABLE outbox (id INTEGER PRIMARY KEY, data BLOB NOT NULL);
