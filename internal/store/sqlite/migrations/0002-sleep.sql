-- When a sleeping device wakes.
ALTER TABLE device ADD COLUMN sleep_from INTEGER NOT NULL DEFAULT 0;
ALTER TABLE device ADD COLUMN sleep_every INTEGER NOT NULL DEFAULT 0;
