-- Nobody waits for the row of a dependent here. Who has it judges it, after its mark; who has it not
-- leaves a mark for upkeep, since two that end at the same instant do not see each other.
create or replace function tide._predecessors_ended(run_ids uuid[], status text)
returns void
language plpgsql
volatile
as $$
declare
  v_dependents constant uuid[] := array(
    select distinct p.run_id
    from tide.predecessors as p
    where p.after_id = any (_predecessors_ended.run_ids)
      and p.ended_as is null
    order by p.run_id
  );
  v_runs tide.runs[];
  v_locked uuid[];
  v_run tide.runs;
begin
  v_runs := array(
    select r
    from tide.runs_active as r
    -- Upkeep goes on with more of them.
    where r.run_id = any (v_dependents[:1000])
      and r.waiting_on = 'after'
    order by r.run_id
    for no key update skip locked
  );
  v_locked := array(
    select u.run_id
    from unnest(v_runs) as u
  );
  update tide.predecessors as p
  set
    ended_as = _predecessors_ended.status,
    noticed = p.run_id = any (v_locked)
  where p.after_id = any (_predecessors_ended.run_ids)
    and p.ended_as is null;
  foreach v_run in array v_runs loop
    perform tide._judge_dependent(v_run);
  end loop;
  if cardinality(v_dependents) > cardinality(v_locked) then
    -- An idle worker carries the tick that looks at the others.
    perform tide._wake_workers(w.queue, 1)
    from (
      select distinct r.queue
      from tide.runs_active as r
      where r.run_id = any (v_dependents)
        and r.waiting_on = 'after'
    ) as w;
  end if;
end;
$$;

comment on function tide._predecessors_ended is
  'Note that runs ended for those that come after them, and make ready which need wait no longer.';
