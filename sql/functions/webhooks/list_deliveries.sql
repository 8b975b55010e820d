create or replace function tide.list_deliveries(
  status text default null,
  run_id uuid default null,
  before uuid default null,
  max_deliveries integer default 100
)
returns setof tide.deliveries
language plpgsql
stable
parallel safe
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_limit constant integer := tide._valid_integer(
    'max_deliveries', list_deliveries.max_deliveries, 1, 10000
  );
  v_closed constant text[] := tide._closed_queues();
  v_delivery tide.deliveries;
begin
  if list_deliveries.status is not null then
    perform tide._valid_choice(
      'status', list_deliveries.status, '{pending,delivered,dead,dropped}'
    );
  end if;
  for v_delivery in
    select d.*
    from tide.deliveries as d
    where (list_deliveries.status is null or d.status = list_deliveries.status)
      and (list_deliveries.run_id is null or d.run_id = list_deliveries.run_id)
      and not tide._closed_to_login(d.run_id, v_closed)
      and (list_deliveries.before is null or d.delivery_id < list_deliveries.before)
    order by d.delivery_id desc
    limit v_limit
  loop
    v_delivery.token := null;
    v_delivery.lease_id := null;
    v_delivery.ended_lease_id := null;
    return next v_delivery;
  end loop;
end;
$$;

comment on function tide.list_deliveries is
  'Webhooks of the outbox, newest first; before continues after a page. Tokens and leases are not '
  'shown.';
