create or replace function tide._take_answer(
  delivery tide.deliveries,
  http_status integer,
  response text,
  error text,
  retry_after interval
)
returns void
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
  -- Who answers when its whole work is done may answer too late, or with an error of that work: the
  -- webhook has arrived all the same.
  v_delivered constant boolean := coalesce(_take_answer.http_status between 200 and 299, false)
    or delivery.type in ('run.invoke', 'run.resume')
    and exists (
      select
      from tide.runs as r
      where r.run_id = delivery.run_id
        and r.started_at >= delivery.created_at
    );
  v_due_at timestamptz;
begin
  update tide.deliveries as d
  set
    lease_id = null,
    ended_lease_id = d.lease_id,
    http_status = _take_answer.http_status,
    response = _take_answer.response,
    error = _take_answer.error
  where d.run_id = delivery.run_id
    and d.delivery_id = delivery.delivery_id;
  if v_delivered then
    perform tide._end_delivery(delivery, 'delivered');
  elsif delivery.attempts >= delivery.max_attempts or _take_answer.http_status = 410 then
    perform tide._end_delivery(delivery, 'dead');
  else
    v_due_at := v_now + least(
      interval '1 hour',
      case
        when delivery.type in ('run.invoke', 'run.resume') then interval '2 seconds'
        else '5 seconds'
      end
        * power(2, least(delivery.attempts - 1, 20)) * (1 + random() / 5)
    );
    v_due_at := greatest(v_due_at, v_now + _take_answer.retry_after);
    update tide.deliveries as d
    set due_at = v_due_at
    where d.run_id = delivery.run_id
      and d.delivery_id = delivery.delivery_id;
  end if;
  -- 410 speaks of one address, not of the host that many of them may share.
  update tide.endpoints as e
  set
    failures = case when v_delivered then 0 else e.failures + 1 end,
    proven = v_delivered,
    answered_at = v_now,
    -- Closed again by a success; else longer each time, from ten seconds to five minutes, or as long
    -- as the receiver asks for.
    open_until = case
      when not v_delivered and _take_answer.retry_after > interval '0'
        then v_now + _take_answer.retry_after
      when not v_delivered and e.failures >= 4
        then v_now + least(
          interval '5 minutes', interval '10 seconds' * power(2, least(e.failures - 4, 10))
        )
    end
  where e.endpoint = delivery.endpoint
    and _take_answer.http_status is distinct from 410;
end;
$$;

comment on function tide._take_answer is
  'Write down how an attempt went: end the delivery or put it off, open or close the breaker.';
