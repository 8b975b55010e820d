create or replace function tide.resolve_step(
  run_id uuid,
  name text,
  decision text,
  output jsonb default null,
  actor text default null
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
  v_output constant jsonb := tide._valid_payload('output', resolve_step.output);
  v_actor constant text := tide._valid_note('actor', resolve_step.actor);
  v_run tide.runs;
  v_step tide.steps;
begin
  perform tide._require_read_committed('resolve_step');
  if resolve_step.decision is null
    or resolve_step.decision not in ('retry', 'use_output', 'fail')
  then
    raise exception 'decision is not known: %',
        coalesce(quote_literal(left(resolve_step.decision, 200)), 'null')
      using errcode = '22023',
            hint = 'Give retry, use_output or fail.';
  end if;
  perform tide._require_run(resolve_step.run_id);
  v_run := tide._lock_active(resolve_step.run_id);
  v_step := (
    select s
    from tide.steps as s
    where s.run_id = v_run.run_id
      and s.name = resolve_step.name
  );
  if v_step.name is null then
    raise exception 'run % has no step %', v_run.run_id,
        coalesce(quote_literal(left(resolve_step.name, 200)), 'null')
      using errcode = 'TD010',
            hint = 'See describe_run for its steps.';
  elsif v_step.status <> 'manual_review' then
    raise exception 'step % of run % is % and awaits no decision',
        quote_literal(v_step.name), v_run.run_id, v_step.status
      using errcode = 'TD030',
            hint = 'Only steps in manual_review can be resolved.';
  end if;

  update tide.steps as s
  set
    status = case resolve_step.decision
      when 'retry' then 'failed_retryable'
      when 'use_output' then 'completed'
      else 'failed'
    end,
    output = case when resolve_step.decision = 'use_output' then v_output end,
    decided_by = v_actor
  where s.run_id = v_step.run_id
    and s.name = v_step.name
  returning s.* into v_step;
  if resolve_step.decision = 'fail' then
    perform tide._finish(
      array[v_run.run_id],
      'failed',
      error => jsonb_build_object(
        'message', format('step %L failed in review', v_step.name),
        'step', v_step.name,
        'error', v_step.error
      ),
      failure_class => 'review_rejected'
    );
  else
    if num_nonnulls(v_run.budget, v_run.parent_id) > 0 then
      perform tide._release_reserved(array[v_run.run_id], v_step.name);
    end if;
    perform tide._resume(
      v_run,
      jsonb_build_object(
        'waited_on', 'review',
        'step', v_step.name,
        'decision', resolve_step.decision,
        'actor', v_actor
      )
    );
  end if;
  v_step.lease_id := null;
  return v_step;
end;
$$;

comment on function tide.resolve_step is
  'Decide about a step in manual_review: retry it, use_output as if it had completed, or fail the '
  'run. The parked run goes on in the same transaction.';
