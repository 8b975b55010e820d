-- A net: who ends a run, or takes it from a worker, gives back what it can without waiting.
create or replace function tide._release_stranded(batch integer)
returns integer
language plpgsql
volatile
as $$
declare
  v_run_id uuid;
  v_run tide.runs;
begin
  for v_run_id in
    select distinct m.run_id
    from (
      select
        r.run_id,
        r.step
      from tide.reserved_amounts as r
      order by r.run_id
      limit 10001
    ) as m
    left join tide.runs_active as a on a.run_id = m.run_id
    left join tide.steps as s on s.run_id = m.run_id and s.name = m.step
    where a.run_id is null
      or (a.status <> 'running' and s.status = 'running' and s.replay = 'auto')
      or s.status not in ('running', 'manual_review')
    order by m.run_id
    limit _release_stranded.batch
  loop
    v_run := (
      select r::tide.runs
      from tide.runs_active as r
      where r.run_id = v_run_id
      for no key update skip locked
    );
    if v_run.run_id is not null then
      if v_run.status <> 'running' then
        perform tide._release_lost(v_run);
      end if;
      perform tide._release_reserved(array[v_run_id], l.step, waits => false)
      from (
        select distinct m.step
        from tide.reserved_amounts as m
        join tide.steps as s on s.run_id = m.run_id and s.name = m.step
        where m.run_id = v_run_id
          and s.status not in ('running', 'manual_review')
      ) as l;
      continue;
    end if;
    continue when exists (
      select
      from tide.runs_active as r
      where r.run_id = v_run_id
    );
    perform
    from tide.runs_finished as r
    where r.run_id = v_run_id
    for no key update skip locked;
    if found or not exists (
      select
      from tide.runs as r
      where r.run_id = v_run_id
    ) then
      perform tide._release_reserved(array[v_run_id], waits => false);
    end if;
  end loop;
  return 0;
end;
$$;

comment on function tide._release_stranded is
  'Give back what is reserved for runs that have ended, and for lost attempts of steps that may be '
  'repeated, of the 10001 amounts looked at.';
