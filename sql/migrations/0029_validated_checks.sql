-- tide: after the functions
-- Rows from before a check are held against it. Blocks neither readers nor writers.
alter table tide.queues validate constraint queues_retention_keeps_known;
alter table tide.settings validate constraint settings_retention_positive;
