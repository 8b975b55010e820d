-- Waits for the run row, then judges: whoever ended the run meanwhile has deleted the active row,
-- so the second look, with a newer snapshot, finds it finished.
create or replace function tide._hold(
  run_id uuid,
  lease_id uuid,
  repeated text default null
)
returns tide.runs
language plpgsql
volatile
as $$
declare
  v_run tide.runs;
begin
  v_run := (
    select r::tide.runs
    from tide.runs_active as r
    where r.run_id = _hold.run_id
    for no key update
  );
  if v_run.run_id is null then
    v_run := (
      select r
      from tide.runs as r
      where r.run_id = _hold.run_id
    );
    if v_run.run_id is null then
      perform tide._require_run(_hold.run_id);
      perform tide._require_visible(format('run %s', _hold.run_id));
      raise exception 'run % does not exist', coalesce(_hold.run_id::text, 'null')
        using errcode = 'TD010',
              hint = 'Check the id; retention may have removed the run.';
    end if;
  end if;

  if v_run.lease_id = _hold.lease_id
    and (v_run.status = 'running' or v_run.ended_by = _hold.repeated)
  then
    return v_run;
  elsif v_run.status = 'running' and _hold.lease_id = tide._permit(v_run.lease_id) then
    return v_run;
  end if;

  -- Who does not hold the run learns nothing of it without a grant.
  perform tide._require_run(_hold.run_id);
  if v_run.status = 'cancelled' then
    raise exception 'run % is cancelled', _hold.run_id
      using errcode = 'TD001',
            detail = format(
              'Reason: %s. Actor: %s.',
              coalesce(v_run.cancel_reason, 'none given'),
              coalesce(v_run.cancel_actor, 'none given')
            ),
            hint = 'Stop working on this run.';
  elsif v_run.status in ('completed', 'failed') then
    raise exception 'run % is finished: %', _hold.run_id, v_run.status
      using errcode = 'TD003',
            hint = 'Stop working on this run.';
  end if;
  raise exception 'the lease on run % is lost', _hold.run_id
    using errcode = 'TD002',
          detail = format('The run is %s, attempt %s.', v_run.status, v_run.attempt),
          hint = 'Stop working on this run; it belongs to another attempt.';
end;
$$;

comment on function tide._hold is
  'Lock a leased run and return it, or say why the caller may not write: TD001, TD002, TD003, TD010. '
  'A run that is not running is returned only for the same report, repeated.';
