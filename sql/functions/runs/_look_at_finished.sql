create or replace function tide._look_at_finished(
  oldest uuid,
  before uuid,
  rare_status text,
  one_workflow text,
  look integer
)
returns table (
  run_id uuid,
  status text,
  waiting_on text,
  queue text,
  workflow text,
  failure_class text,
  metadata jsonb,
  error jsonb,
  finished_at timestamptz
)
language plpgsql
stable
as $$
begin
  case
    when _look_at_finished.rare_status = 'failed' then
      return query
      select
        r.run_id,
        r.status,
        r.waiting_on,
        r.queue,
        r.workflow,
        r.failure_class,
        r.metadata,
        r.error,
        r.finished_at
      from tide.runs_finished as r
      where r.status = 'failed'
        and r.run_id >= _look_at_finished.oldest
        and r.run_id < _look_at_finished.before
      order by r.run_id desc
      limit _look_at_finished.look;
    when _look_at_finished.rare_status = 'cancelled' then
      return query
      select
        r.run_id,
        r.status,
        r.waiting_on,
        r.queue,
        r.workflow,
        r.failure_class,
        r.metadata,
        r.error,
        r.finished_at
      from tide.runs_finished as r
      where r.status = 'cancelled'
        and r.run_id >= _look_at_finished.oldest
        and r.run_id < _look_at_finished.before
      order by r.run_id desc
      limit _look_at_finished.look;
    when _look_at_finished.one_workflow is not null then
      return query
      select
        r.run_id,
        r.status,
        r.waiting_on,
        r.queue,
        r.workflow,
        r.failure_class,
        r.metadata,
        r.error,
        r.finished_at
      from tide.runs_finished as r
      where r.workflow = _look_at_finished.one_workflow
        and r.run_id >= _look_at_finished.oldest
        and r.run_id < _look_at_finished.before
      order by r.run_id desc
      limit _look_at_finished.look;
    else
      return query
      select
        r.run_id,
        r.status,
        r.waiting_on,
        r.queue,
        r.workflow,
        r.failure_class,
        r.metadata,
        r.error,
        r.finished_at
      from tide.runs_finished as r
      where r.run_id >= _look_at_finished.oldest
        and r.run_id < _look_at_finished.before
      order by r.run_id desc
      limit _look_at_finished.look;
  end case;
end;
$$;

comment on function tide._look_at_finished is
  'The newest finished runs of a range of ids, at most so many: all, those with a status that is rare, '
  'or those of a workflow.';
