-- tide: no transaction
-- Indexes of active runs. Blocks neither readers nor writers.
-- Finds runs that may have stalled.
create index concurrently if not exists runs_recover_idx on tide.runs_active (recover_at)
where recover_at is not null;
-- Finds pushed runs that nobody has begun.
create index concurrently if not exists runs_dispatched_idx
on tide.runs_active (queue, dispatched_until)
where dispatched_until is not null;
-- Finds the active forks of a run.
create index concurrently if not exists runs_active_forks_idx
on tide.runs_active (forked_from, run_id)
where forked_from is not null;
-- Makes a run beyond the cap of its lane impossible.
create unique index concurrently if not exists runs_lane_slot_uidx
on tide.runs_active (lane, lane_slot)
where lane_slot is not null;
-- Makes a run beyond the cap of its key impossible.
create unique index concurrently if not exists runs_lane_key_slot_uidx
on tide.runs_active (lane, lane_key, lane_key_slot)
where lane_key_slot is not null;
-- Finds runs that run in a lane.
create index concurrently if not exists runs_in_lanes_idx
on tide.runs_active (lane, lane_key, run_id)
where lane is not null and (status = 'running' or dispatched_until is not null);
-- Few runs wait so; pages that list runs look for them.
create index concurrently if not exists runs_needing_people_idx
on tide.runs_active (waiting_on, run_id)
where waiting_on in ('review', 'budget');
comment on index tide.runs_needing_people_idx is
  'Runs that go on only when a person acts, however many others are parked.';
-- How many runs of each queue are parked, by what they wait for.
create index concurrently if not exists runs_parked_idx on tide.runs_active (queue, waiting_on)
where status = 'queued' and waiting_on is not null;
-- How many runs of each queue are delayed. Claims look for runs that are due without a word of
-- waiting_on, so that the planner cannot take this index for them.
create index concurrently if not exists runs_delayed_idx on tide.runs_active (queue)
where status = 'queued' and not ready and waiting_on is null;
