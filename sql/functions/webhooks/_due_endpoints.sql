create or replace function tide._due_endpoints(now timestamptz)
returns setof tide.endpoints
language plpgsql
volatile
as $$
declare
  v_endpoint text := '';
  v_due text[] := array[]::text[];
  v_new text[];
begin
  -- One probe for each endpoint: the index leads with it.
  while cardinality(v_due) < 1000 loop
    select d.endpoint
    into v_endpoint
    from tide.deliveries as d
    where d.status = 'pending'
      and d.endpoint > v_endpoint
    order by d.endpoint
    limit 1;
    exit when not found;
    -- A thousand endpoints that fail do not hide the others behind them.
    continue when exists (
      select
      from tide.endpoints as e
      where e.endpoint = v_endpoint
        and e.open_until > _due_endpoints.now
    );
    if exists (
      select
      from tide.deliveries as d
      where d.status = 'pending'
        and d.endpoint = v_endpoint
        and d.due_at <= _due_endpoints.now
    ) then
      v_due := v_due || v_endpoint;
    end if;
  end loop;
  v_new := array(
    select n.endpoint
    from unnest(v_due) as n(endpoint)
    where not exists (
      select
      from tide.endpoints as e
      where e.endpoint = n.endpoint
    )
  );
  -- One claim at a time writes new endpoints: an insert would wait for another that is still open.
  if cardinality(v_new) > 0 and tide._take_turn('endpoints') then
    insert into tide.endpoints (endpoint)
    select n.endpoint
    from unnest(v_new) as n(endpoint)
    on conflict on constraint endpoints_pkey do nothing;
  end if;
  return query
  select e.*
  from tide.endpoints as e
  where e.endpoint = any (v_due)
    and (e.open_until is null or e.open_until <= _due_endpoints.now)
  order by e.claimed_at, e.endpoint
  for no key update skip locked;
end;
$$;

comment on function tide._due_endpoints is
  'Lock endpoints with due deliveries whose circuit breaker is closed, the one served longest ago '
  'first.';
