create or replace function tide._lock_active(run_id uuid)
returns tide.runs
language plpgsql
volatile
as $$
declare
  v_run tide.runs;
begin
  -- Again when a retry has brought the run back between the two looks.
  loop
    select r.*
    into v_run
    from tide.runs_active as r
    where r.run_id = _lock_active.run_id
    for no key update;
    if found then
      return v_run;
    end if;
    perform tide._require_visible(format('active run %s', _lock_active.run_id));
    v_run := tide._find_run(_lock_active.run_id);
    exit when v_run.finished_at is not null;
  end loop;
  -- Nobody's lease: _hold says what became of the run.
  return tide._hold(_lock_active.run_id, null);
end;
$$;

comment on function tide._lock_active is
  'Lock an active run for somebody who holds no lease; ended: TD001 or TD003, unknown: TD010.';
