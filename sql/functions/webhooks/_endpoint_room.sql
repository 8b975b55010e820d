create or replace function tide._endpoint_room(endpoint tide.endpoints, unproven integer)
returns integer
language plpgsql
stable
as $$
declare
  v_sending integer;
begin
  select count(*)
  into v_sending
  from tide.deliveries as d
  where d.endpoint = _endpoint_room.endpoint.endpoint
    and d.status = 'pending'
    and d.lease_id is not null
    and d.due_at > tide._now();
  if _endpoint_room.endpoint.proven then
    return 4 - v_sending;
  end if;
  return least(1 - v_sending, _endpoint_room.unproven);
end;
$$;

comment on function tide._endpoint_room is
  'How many more deliveries may be on their way to an endpoint: four, or one until it has answered '
  'well.';
