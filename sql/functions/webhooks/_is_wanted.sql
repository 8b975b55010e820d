create or replace function tide._is_wanted(delivery tide.deliveries)
returns boolean
language plpgsql
volatile
as $$
begin
  if delivery.type = 'run.invoke' then
    return exists (
      select
      from tide.runs_active as r
      where r.run_id = delivery.run_id
        and r.waiting_on = 'push'
        and r.waiting_for = delivery.delivery_id::text
    );
  elsif delivery.type = 'run.resume' then
    return exists (
      select
      from tide.runs_active as r
      where r.run_id = delivery.run_id
        and r.waiting_on is null
        and (
          r.status = 'pending'
          or tide._leased_until(r.run_id, r.lease_id, r.lease, r.leased_until) <= tide._now()
        )
    );
  end if;
  return true;
end;
$$;

comment on function tide._is_wanted is
  'Whether a delivery still says something its receiver should act on.';
