create or replace function tide.list_endpoints()
returns table (
  endpoint text,
  failures integer,
  proven boolean,
  open_until timestamptz,
  answered_at timestamptz,
  pending bigint,
  oldest_due_at timestamptz
)
language plpgsql
stable
parallel safe
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
begin
  return query
  select
    e.endpoint,
    e.failures,
    e.proven,
    e.open_until,
    e.answered_at,
    p.pending,
    p.oldest_due_at
  from tide.endpoints as e
  cross join lateral (
    select
      count(*) as pending,
      min(b.due_at) as oldest_due_at
    from (
      select d.due_at
      from tide.deliveries as d
      where d.status = 'pending'
        and d.endpoint = e.endpoint
      order by
        d.endpoint,
        d.due_at
      limit 10001
    ) as b
  ) as p
  order by
    e.open_until desc nulls last,
    p.pending desc,
    e.endpoint
  limit 1000;
end;
$$;

comment on function tide.list_endpoints is
  'Each host that webhooks go to: failures in a row, until when nothing is sent, and deliveries that '
  'are due, counted to 10001.';
