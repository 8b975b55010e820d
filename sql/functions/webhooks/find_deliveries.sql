create or replace function tide.find_deliveries(
  only_status text default null,
  before uuid default null,
  max_deliveries integer default 50
)
returns table (
  delivery_id uuid,
  run_id uuid,
  type text,
  gate_id uuid,
  endpoint text,
  status text,
  attempts integer,
  max_attempts integer,
  http_status integer,
  due_at timestamptz,
  created_at timestamptz,
  finished_at timestamptz
)
language plpgsql
stable
parallel safe
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
declare
  v_limit constant integer := tide._valid_integer(
    'max_deliveries', find_deliveries.max_deliveries, 1, 1000
  );
  v_before constant uuid := coalesce(
    find_deliveries.before, 'ffffffff-ffff-ffff-ffff-ffffffffffff'
  );
begin
  if find_deliveries.only_status is not null then
    perform tide._valid_choice(
      'only_status', find_deliveries.only_status, '{pending,delivered,dead,dropped}'
    );
  end if;
  return query
  select
    n.delivery_id,
    n.run_id,
    n.type,
    n.gate_id,
    n.endpoint,
    n.status,
    n.attempts,
    n.max_attempts,
    n.http_status,
    n.due_at,
    n.created_at,
    n.finished_at
  from (
    (
      -- The dead have an index of their own.
      select d.*
      from tide.deliveries as d
      where find_deliveries.only_status = 'dead'
        and d.status = 'dead'
        and d.delivery_id < v_before
      order by d.delivery_id desc
      limit v_limit
    )
    union all
    (
      select d.*
      from tide.deliveries as d
      where find_deliveries.only_status is distinct from 'dead'
        and d.delivery_id < v_before
      order by d.delivery_id desc
      limit 5000
    )
  ) as n
  where find_deliveries.only_status is null
    or n.status = find_deliveries.only_status
  order by n.delivery_id desc
  limit v_limit;
end;
$$;

comment on function tide.find_deliveries is
  'Webhooks of the outbox without body, response, error and path, newest first; of those that are not '
  'dead a look at 5000. before continues after a page.';
