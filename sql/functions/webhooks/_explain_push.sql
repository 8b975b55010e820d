create or replace function tide._explain_push(queue tide.queues)
returns jsonb
language plpgsql
stable
as $$
declare
  v_endpoint tide.endpoints;
begin
  v_endpoint := (
    select e
    from tide.endpoints as e
    where e.endpoint = tide._endpoint(_explain_push.queue.push_url)
  );
  if v_endpoint.open_until > tide._now() then
    return tide._reason(
      'endpoint',
      'the endpoint of the queue fails and is given a pause',
      jsonb_build_object(
        'endpoint', v_endpoint.endpoint,
        'failures', v_endpoint.failures,
        'until', v_endpoint.open_until
      )
    );
  end if;
  return '[]'::jsonb;
end;
$$;

comment on function tide._explain_push is
  'The reason endpoint while the circuit breaker of a push queue is open, or an empty list.';
