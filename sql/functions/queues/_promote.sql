create or replace function tide._promote(max_runs integer)
returns integer
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
  v_promoted integer;
begin
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
  );
  get diagnostics v_promoted = row_count;
  return v_promoted;
end;
$$;

comment on function tide._promote is
  'Make queued runs ready whose time has come, earliest first, and return how many.';
