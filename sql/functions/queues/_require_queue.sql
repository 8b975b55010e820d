create or replace function tide._require_queue(queue text, verb text default null)
returns boolean
language plpgsql
stable
as $$
begin
  if _require_queue.queue is null or tide._may_use(_require_queue.queue, _require_queue.verb) then
    return true;
  end if;
  raise exception 'login % may not % queue %',
      session_user,
      case _require_queue.verb
        when 'enqueue' then 'enqueue to'
        when 'claim' then 'claim from'
        else 'use'
      end,
      _require_queue.queue
    using errcode = '42501',
          hint = 'The queue is restricted; an operator calls tide.grant_queue.';
end;
$$;

comment on function tide._require_queue is
  'True, or 42501 when the queue is restricted and the login has no grant. null = no queue.';
