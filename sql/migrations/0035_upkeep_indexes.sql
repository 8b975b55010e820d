-- tide: no transaction
-- Indexes by which upkeep finds what is to go. Blocks neither readers nor writers.
create index concurrently if not exists queue_minutes_minute_idx on tide.queue_minutes (minute);
