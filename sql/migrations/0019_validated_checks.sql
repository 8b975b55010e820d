-- tide: after the functions
-- Rows from before a check are held against it. Blocks neither readers nor writers.
alter table tide.runs validate constraint runs_slot_only_while_running;
alter table tide.runs_active validate constraint runs_active_waits_for_known;
alter table tide.queues validate constraint queues_retention_keeps_known;
alter table tide.settings validate constraint settings_retention_positive;
