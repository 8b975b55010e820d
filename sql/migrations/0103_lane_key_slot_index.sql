-- tide: no transaction
-- Makes a run beyond the cap of its key impossible. Blocks neither readers nor writers.
create unique index concurrently if not exists runs_lane_key_slot_uidx
on tide.runs_active (lane, lane_key, lane_key_slot)
where lane_key_slot is not null;
