-- tide: no transaction
-- Makes a run beyond the cap of its lane impossible. Blocks neither readers nor writers.
create unique index concurrently if not exists runs_lane_slot_uidx
on tide.runs_active (lane, lane_slot)
where lane_slot is not null;
