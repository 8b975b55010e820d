create or replace function tide._explain_rate(queue tide.queues, now timestamptz)
returns jsonb
language plpgsql
stable
as $$
declare
  v_at timestamptz;
begin
  if _explain_rate.queue.rate_limit is null then
    return '[]'::jsonb;
  end if;
  select p.available_at
  into v_at
  from tide.permits as p
  where p.queue = _explain_rate.queue.queue
  order by p.available_at
  limit 1;
  if v_at <= _explain_rate.now then
    return '[]'::jsonb;
  end if;
  return tide._reason(
    'rate',
    'the rate of the queue is used up',
    jsonb_build_object(
      'rate_limit', _explain_rate.queue.rate_limit,
      'rate_period', _explain_rate.queue.rate_period,
      'until', v_at
    )
  );
end;
$$;

comment on function tide._explain_rate is
  'The reason rate, with the time of the next permit, or an empty list.';
