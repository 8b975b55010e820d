-- What a run's columns tell is written by a claim and a completion that look for no follower.
create or replace function tide._follow(run_id uuid)
returns void
language plpgsql
volatile
as $$
begin
  perform
  from tide.runs_active as r
  where r.run_id = _follow.run_id
    and r.told_events > 0
  for no key update;
  if found then
    perform tide._write_told_events(array[_follow.run_id]);
    update tide.runs_active as r
    set told_events = 0
    where r.run_id = _follow.run_id;
  end if;
end;
$$;

comment on function tide._follow is
  'From now on each event of the run is a row, and whoever follows it is told: before somebody does.';
