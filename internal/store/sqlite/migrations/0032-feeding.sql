-- The start of the first interval that is expected of what a device feeds in, where that is not device.expected; 0: it is.
ALTER TABLE device ADD COLUMN feeding INTEGER NOT NULL DEFAULT 0;
