-- tide: no transaction
-- Finds runs that run in a lane. Blocks neither readers nor writers.
create index concurrently if not exists runs_in_lanes_idx
on tide.runs_active (lane, lane_key, run_id)
where lane is not null and (status = 'running' or dispatched_until is not null);
