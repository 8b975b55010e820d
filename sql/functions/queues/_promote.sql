create or replace function tide._promote(max_runs integer)
returns integer
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
  v_group record;
  v_promoted integer := 0;
begin
  for v_group in
    with promoted as (
      update tide.runs_active as r
      set ready = true
      where r.run_id = any (
        array(
          select d.run_id
          from tide.runs_active as d
          where d.status = 'queued'
            and not d.ready
            and d.run_at <= v_now
          order by d.run_at
          limit _promote.max_runs
          for no key update skip locked
        )
      )
      returning
        r.run_id,
        r.queue,
        r.priority,
        r.run_at,
        r.lane
    )
    select
      p.queue,
      p.priority,
      min(p.run_at) as run_at,
      count(*) as runs,
      array_agg(p.run_id) filter (where p.lane is not null) as laned
    from promoted as p
    group by
      p.queue,
      p.priority
  loop
    perform tide._make_ready(
      v_group.queue, v_group.priority, v_group.run_at, v_group.runs::integer
    );
    if v_group.laned is not null then
      perform tide._line_up(v_group.laned);
    end if;
    v_promoted := v_promoted + v_group.runs;
  end loop;
  return v_promoted;
end;
$$;

comment on function tide._promote is
  'Make queued runs ready whose time has come, earliest first, and return how many.';
