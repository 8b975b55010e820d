-- In rounds, since parked runs make room for those behind them; bounded, so that a claim behind a
-- hundred thousand runs of a full line stays short: each of them is parked once, by some claim.
create or replace function tide._admit(
  queue text,
  reserved tide.reservation,
  max_runs integer,
  workflows text[]
)
returns tide.reservation
language plpgsql
volatile
as $$
declare
  v_reserved tide.reservation := reserved;
  v_picked uuid[] := reserved.run_ids;
  v_asked integer := _admit.max_runs;
  v_seen uuid[] := array[]::uuid[];
  v_parked integer := 0;
  v_taken tide.admission;
begin
  v_reserved.run_ids := '{}';
  v_reserved.lane_slots := '{}';
  v_reserved.lane_key_slots := '{}';
  loop
    v_taken := tide._take_lanes(
      v_picked, _admit.max_runs - cardinality(v_reserved.run_ids)
    );
    v_reserved.run_ids := v_reserved.run_ids || v_taken.run_ids;
    v_reserved.lane_slots := v_reserved.lane_slots || v_taken.lane_slots;
    v_reserved.lane_key_slots := v_reserved.lane_key_slots || v_taken.lane_key_slots;
    v_seen := v_seen || v_taken.run_ids || v_taken.passed;
    v_parked := v_parked + v_taken.parked;
    exit when cardinality(v_reserved.run_ids) >= max_runs
      or cardinality(v_picked) < v_asked
      or v_parked >= 1000
      or cardinality(v_seen) >= max_runs + 1000;
    -- Where many were in vain, many are looked at together.
    v_asked := greatest(
      _admit.max_runs - cardinality(v_reserved.run_ids),
      least(100, 2 * (v_taken.parked + cardinality(v_taken.passed)))
    );
    v_picked := (tide._pick_ready(_admit.queue, v_asked, _admit.workflows, v_seen)).run_ids;
  end loop;
  return v_reserved;
end;
$$;

comment on function tide._admit is
  'The picked runs, and those behind them, that have a place in their lanes, with these places.';
