create or replace function tide._waits_ahead(run tide.runs, wait tide.lane_waits, lane_key text)
returns uuid[]
language plpgsql
stable
as $$
begin
  return array(
    select a.run_id
    from (
      select
        w.run_id,
        w.priority,
        w.run_at
      from tide.lane_waits as w
      where w.lane = run.lane
        and w.lane_key = _waits_ahead.lane_key
      order by w.lane, w.lane_key, w.priority desc, w.run_at, w.run_id
      limit 10000
    ) as a
    where a.run_id <> run.run_id
      and (
        wait.lane_key is distinct from _waits_ahead.lane_key
        or a.priority > wait.priority
        or a.priority = wait.priority and (a.run_at, a.run_id) < (wait.run_at, wait.run_id)
      )
    order by a.priority desc, a.run_at, a.run_id
  );
end;
$$;

comment on function tide._waits_ahead is
  'The runs that wait in a line before a run of its lane, all of them where it waits in another line; of '
  'the first 10000.';
