create or replace function tide._require_delivery(delivery_id uuid)
returns boolean
language plpgsql
stable
as $$
declare
  v_closed constant text[] := tide._closed_queues();
  v_run_id uuid;
begin
  if v_closed = '{}' then
    return true;
  end if;
  select d.run_id
  into v_run_id
  from tide.deliveries as d
  where d.delivery_id = _require_delivery.delivery_id;
  if found and not tide._closed_to_login(v_run_id, v_closed) then
    return true;
  end if;
  raise exception 'delivery % does not exist, or login % may not use its queue',
      coalesce(_require_delivery.delivery_id::text, 'null'), session_user
    using errcode = '42501',
          hint = 'Check the id; for a restricted queue an operator calls tide.grant_queue.';
end;
$$;

comment on function tide._require_delivery is
  'True, or 42501 as of _require_run: the delivery is of a restricted queue, or there is none.';
