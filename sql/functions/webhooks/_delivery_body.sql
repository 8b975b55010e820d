create or replace function tide._delivery_body(delivery tide.deliveries)
returns text
language plpgsql
stable
parallel safe
as $$
begin
  if delivery.token is null then
    return delivery.body;
  end if;
  -- Only gate.created has one: its body ends with the gate, within the payload.
  return format(
    '%s, "resolveToken" : "%s"}}, "token" : "%s"}',
    left(delivery.body, -3),
    delivery.token,
    delivery.token
  );
end;
$$;

comment on function tide._delivery_body is
  'The bytes to send: the body and, for a gate not yet decided, the token that decides it.';
