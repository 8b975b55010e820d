create or replace function tide._explain_cap(queue tide.queues)
returns jsonb
language plpgsql
stable
as $$
declare
  v_busy uuid[];
begin
  if _explain_cap.queue.concurrency is null then
    return '[]'::jsonb;
  end if;
  -- Each by its index: with one condition for both, all active runs would be read.
  v_busy := array(
    select r.run_id
    from tide.runs_active as r
    where r.queue = _explain_cap.queue.queue
      and r.status = 'running'
    union
    select r.run_id
    from tide.runs_active as r
    where r.queue = _explain_cap.queue.queue
      and r.dispatched_until is not null
    order by run_id
  );
  if cardinality(v_busy) < _explain_cap.queue.concurrency then
    return '[]'::jsonb;
  end if;
  return tide._reason(
    'cap',
    'the concurrency of the queue is used up',
    jsonb_build_object(
      'concurrency', _explain_cap.queue.concurrency,
      'running', to_jsonb(v_busy[:20])
    )
  );
end;
$$;

comment on function tide._explain_cap is
  'The reason cap, with up to 20 runs that count, or an empty list.';
