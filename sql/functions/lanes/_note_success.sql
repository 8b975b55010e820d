-- Without the lock of the lane, and without a wait for one: failures that others note just now come
-- after this success. Both tables are read in one statement: a lane that these runs found closed may have
-- been opened since, which no run but its probe undoes.
create or replace function tide._note_success(lane text, run_ids uuid[])
returns void
language plpgsql
volatile
as $$
begin
  delete from tide.lane_failures as f
  where f.lane = _note_success.lane
    and f.failure_id = any (
      array(
        select n.failure_id
        from tide.lane_failures as n
        join tide.lanes as l on l.lane = n.lane
        where n.lane = _note_success.lane
          and (l.opened_at is null or l.probe_id = any (_note_success.run_ids))
        for update of n skip locked
      )
    );
end;
$$;

comment on function tide._note_success is
  'End the failures in a row of a lane, of an open one if one of the runs is its probe.';
