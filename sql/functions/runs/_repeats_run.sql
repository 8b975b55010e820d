-- Called after an insert the run was in the way of, with a newer snapshot: it is active, or it ended.
create or replace function tide._repeats_run(
  run_id uuid,
  workflow text,
  input jsonb
)
returns boolean
language plpgsql
volatile
as $$
declare
  v_earlier tide.runs;
begin
  v_earlier := (
    select tide._with_input(r)
    from tide.runs as r
    where r.run_id = _repeats_run.run_id
  );
  if v_earlier.run_id is null then
    return false;
  end if;
  perform tide._require_run(_repeats_run.run_id);
  if v_earlier.workflow is distinct from _repeats_run.workflow
    or v_earlier.input is distinct from coalesce(_repeats_run.input, '{}')
  then
    raise exception 'run_id % belongs to another run', _repeats_run.run_id
      using errcode = 'TD020',
            detail = format('It was made for workflow %s.', v_earlier.workflow),
            hint = 'Repeat a call with the same workflow and input, or make a new id.';
  end if;
  return true;
end;
$$;

comment on function tide._repeats_run is
  'Whether an earlier call made the run with this id; with another workflow or input: TD020.';
