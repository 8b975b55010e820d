create or replace function tide.complete_step(
  run_id uuid,
  lease_id uuid,
  name text,
  output jsonb default null,
  used jsonb default null
)
returns tide.steps
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_output constant jsonb := tide._valid_payload('output', complete_step.output);
  v_used constant tide.usage[] := tide._parse_used(complete_step.used, complete_step.name);
  v_run constant tide.runs := tide._hold(complete_step.run_id, complete_step.lease_id);
  v_step tide.steps := tide._held_step(v_run, complete_step.name);
begin
  if v_step.status = 'running' then
    update tide.steps as s
    set
      status = 'completed',
      output = v_output,
      error = null,
      finished_at = tide._now()
    where s.run_id = v_step.run_id
      and s.name = v_step.name
    returning s.* into v_step;
    perform tide._log(
      v_run.run_id,
      'step.completed',
      jsonb_build_object('name', v_step.name, 'attempt', v_step.attempt)
    );
    perform tide._write_used(v_run, v_step.name, v_used);
    if v_run.lane is not null then
      perform tide._end_step_lanes(v_run, v_step.name);
    end if;
  elsif v_step.status <> 'completed' then
    raise exception 'step % of run % is % and cannot be completed',
        quote_literal(v_step.name), v_run.run_id, v_step.status
      using errcode = 'TD030',
            hint = 'Begin the step again before reporting on it.';
  end if;
  v_step.lease_id := null;
  return v_step;
end;
$$;

comment on function tide.complete_step is
  'Store the output of a step: from now on it replays. used, one object or many with the keys of '
  'record_usage, is recorded with it, once, and settles the units of its lane. Renews the lease; the same '
  'call again gives the same answer.';
