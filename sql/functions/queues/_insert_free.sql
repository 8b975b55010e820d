-- The rows come back in the order in which they went in, which is that of the batch.
create or replace function tide._insert_free(
  queue text,
  runs jsonb,
  first text,
  now timestamptz,
  usual_attempts integer
)
returns table (run_ids uuid[], soon_ready bigint, earliest timestamptz)
language plpgsql
volatile
as $$
declare
  v_soon constant timestamptz := tide._soon();
begin
  return query
  with inserted as (
    insert into tide.runs_active as r (
      run_id, workflow, queue, status, priority, max_attempts, last_seq, told_events, ready,
      run_at, created_at, deadline_at, input, metadata, backoff, deadline, budget
    )
    select
      tide._batch_uuid7(_insert_free.first, g.ordinal),
      g.workflow,
      _insert_free.queue,
      'queued',
      g.priority,
      g.max_attempts,
      1,
      1,
      g.run_at <= _insert_free.now,
      g.run_at,
      _insert_free.now,
      _insert_free.now + g.deadline,
      g.input,
      g.metadata,
      g.backoff,
      g.deadline,
      g.budget
    from tide._parse_batch(
      _insert_free.runs, _insert_free.now, _insert_free.usual_attempts
    ) as g
    returning
      r.run_id,
      r.run_at
  )
  select
    array_agg(i.run_id),
    count(*) filter (where i.run_at < v_soon),
    min(i.run_at)
  from inserted as i;
end;
$$;

comment on function tide._insert_free is
  'Insert a batch of runs without dedupe keys and given ids: nothing can be in their way. first = the '
  'id as text that those of the batch come out of.';
