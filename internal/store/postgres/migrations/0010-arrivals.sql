-- How many intervals of the day came by which deadline, see store.FormatArrivals; empty for days from before this step.
ALTER TABLE day_total ADD COLUMN arrivals text NOT NULL DEFAULT '';
