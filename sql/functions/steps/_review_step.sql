create or replace function tide._review_step(run tide.runs, step tide.steps)
returns void
language plpgsql
volatile
as $$
begin
  update tide.steps as s
  set
    status = 'manual_review',
    finished_at = coalesce(s.finished_at, tide._now())
  where s.run_id = step.run_id
    and s.name = step.name;
  perform tide._log(
    run.run_id,
    'step.review',
    jsonb_build_object(
      'name', step.name,
      'attempt', step.attempt,
      'side_effects', to_jsonb(step.side_effects)
    )
  );
  perform tide._park(run, 'review', step.name);
end;
$$;

comment on function tide._review_step is
  'Park a run until an operator resolves a step whose effect may have happened.';
