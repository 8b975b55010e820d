create or replace function tide._parse_runs(queue text, runs jsonb)
returns tide.runs[]
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
  v_max_attempts integer;
begin
  perform tide._valid_elements(
    'runs',
    _parse_runs.runs,
    array[
      'workflow', 'input', 'dedupe_key', 'priority', 'delay', 'run_at', 'max_attempts',
      'deadline', 'metadata', 'on_conflict', 'run_id', 'backoff', 'budget', 'channels'
    ],
    100000
  );
  select q.max_attempts
  into v_max_attempts
  from tide.queues as q
  where q.queue = _parse_runs.queue;
  return array(
    select tide._parse_run(
      format('runs[%s]', e.ordinality - 1),
      _parse_runs.queue,
      coalesce(v_max_attempts, 1),
      v_now,
      e.element
    )
    from jsonb_array_elements(_parse_runs.runs) with ordinality as e(element, ordinality)
    order by e.ordinality
  );
end;
$$;

comment on function tide._parse_runs is
  'Queued runs out of an array of objects, or 22023 naming the element and the argument.';
