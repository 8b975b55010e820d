create or replace function tide.fail_step(
  run_id uuid,
  lease_id uuid,
  name text,
  error jsonb default '{}',
  retryable boolean default false,
  used jsonb default null
)
returns table (status text, decision text, run_status text)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_error constant jsonb := coalesce(tide._valid_payload('error', fail_step.error), '{}');
  v_used constant tide.usage[] := tide._parse_used(fail_step.used, fail_step.name);
  v_run constant tide.runs := tide._hold(fail_step.run_id, fail_step.lease_id);
  v_step tide.steps := tide._held_step(v_run, fail_step.name);
  v_failed_as text;
  v_decision text;
begin
  if v_step.status = 'completed' then
    raise exception 'step % of run % is completed and cannot fail',
        quote_literal(v_step.name), v_run.run_id
      using errcode = 'TD030',
            hint = 'A completed step replays its output.';
  end if;
  v_failed_as := case
    when v_step.status <> 'running' then v_step.status
    when fail_step.retryable then 'failed_retryable'
    else 'failed'
  end;
  v_decision := case tide._step_decision(v_failed_as, v_step.replay, begun_here => true)
    when 'review' then 'manual_review'
    when 'fail' then 'fail_hard'
    else case v_failed_as when 'failed_retryable' then 'auto_retry' else 'safe_replay' end
  end;
  if v_step.status = 'running' then
    update tide.steps as s
    set
      status = case v_decision when 'manual_review' then v_decision else v_failed_as end,
      error = v_error,
      finished_at = tide._now()
    where s.run_id = v_step.run_id
      and s.name = v_step.name
    returning s.* into v_step;
    perform tide._log(
      v_run.run_id,
      'step.failed',
      jsonb_build_object(
        'name', v_step.name,
        'attempt', v_step.attempt,
        'decision', v_decision,
        'error', v_error
      )
    );
    perform tide._write_used(
      v_run, v_step.name, v_used, ends => v_decision <> 'manual_review'
    );
    if v_run.lane is not null then
      perform tide._end_step_lanes(v_run, v_step.name, v_error);
    end if;
    if v_decision = 'manual_review' then
      perform tide._review_step(v_run, v_step);
    elsif v_decision = 'fail_hard' then
      perform tide._fail_hard(v_run, v_step);
    end if;
  end if;
  return query
  select
    v_step.status,
    v_decision,
    r.status
  from tide.runs as r
  where r.run_id = v_run.run_id;
end;
$$;

comment on function tide.fail_step is
  'Report that a step failed. Its contract decides: auto_retry (retryable), safe_replay, '
  'manual_review (the run is parked) or fail_hard (the run has failed). used, as in complete_step, is '
  'recorded with it.';
