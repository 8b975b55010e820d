-- Called after the insert, with a newer snapshot: an earlier call with this id either is the active
-- row the insert met, or ended so long ago that its finished row is visible by now.
create or replace function tide._made_before(
  run_id uuid,
  workflow text,
  input jsonb,
  inserted boolean
)
returns boolean
language plpgsql
volatile
as $$
declare
  v_earlier tide.runs;
begin
  perform
  from tide.runs_finished as r
  where r.run_id = _made_before.run_id;
  if found and inserted then
    delete from tide.runs_active as r
    where r.run_id = _made_before.run_id;
  elsif inserted then
    return false;
  end if;
  select r.*
  into v_earlier
  from tide.runs as r
  where r.run_id = _made_before.run_id;
  if not found then
    return false;
  end if;
  perform tide._require_run(_made_before.run_id);
  if v_earlier.workflow is distinct from _made_before.workflow
    or v_earlier.input is distinct from coalesce(_made_before.input, '{}')
  then
    raise exception 'run_id % belongs to another run', _made_before.run_id
      using errcode = 'TD020',
            detail = format('It was made for workflow %s.', v_earlier.workflow),
            hint = 'Repeat a call with the same workflow and input, or make a new id.';
  end if;
  return true;
end;
$$;

comment on function tide._made_before is
  'Whether an earlier call made the run with this id; with another workflow or input: TD020.';
