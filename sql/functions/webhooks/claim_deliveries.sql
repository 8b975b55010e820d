-- Endpoint by endpoint, the one served longest ago first, and few at a time for each: an endpoint
-- that hangs holds up its own deliveries only. One that has not answered well gets one at a time, and
-- all such together no more than 16.
create or replace function tide.claim_deliveries(
  max_deliveries integer default 10,
  lease interval default '60 seconds'
)
returns table (
  delivery_id uuid,
  lease_id uuid,
  run_id uuid,
  type text,
  attempt integer,
  url text,
  secret_name text,
  headers jsonb,
  body text
)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_wanted integer := tide._valid_integer(
    'max_deliveries', claim_deliveries.max_deliveries, 1, 1000
  );
  v_lease constant interval := tide._valid_lease(claim_deliveries.lease);
  v_closed constant text[] := tide._closed_queues('claim');
  v_now timestamptz;
  v_unproven integer;
  v_endpoint tide.endpoints;
  v_room integer;
  v_delivery tide.deliveries;
begin
  perform tide._require_read_committed('claim_deliveries');
  if not tide._tick() then
    return;
  end if;
  v_now := tide._now();
  v_unproven := 16 - tide._sending_unproven();
  for v_endpoint in
    select e.*
    from tide._due_endpoints(v_now) as e
  loop
    exit when v_wanted = 0;
    v_room := least(v_wanted, tide._endpoint_room(v_endpoint, v_unproven));
    continue when v_room <= 0;
    update tide.endpoints as e
    set claimed_at = v_now
    where e.endpoint = v_endpoint.endpoint;
    -- What nobody needs any more takes no room; a hundred looks end a walk through many of it.
    for v_look in 1..100 loop
      exit when v_room = 0;
      v_delivery := (
        select d
        from tide.deliveries as d
        where d.endpoint = v_endpoint.endpoint
          and d.status = 'pending'
          and d.due_at <= v_now
          and not tide._closed_to_login(d.run_id, v_closed)
        order by d.due_at
        limit 1
        for no key update skip locked
      );
      exit when v_delivery.delivery_id is null;
      if not tide._is_wanted(v_delivery) then
        perform tide._end_delivery(v_delivery, 'dropped', 'nobody needs it any more');
        continue;
      elsif v_delivery.attempts >= v_delivery.max_attempts then
        -- Perhaps what it holds is what ends each dispatcher before it can say so.
        perform tide._end_delivery(v_delivery, 'dead', 'its last attempt was never reported');
        continue;
      end if;
      update tide.deliveries as d
      set
        attempts = d.attempts + 1,
        lease_id = gen_random_uuid(),
        due_at = v_now + v_lease
      where d.run_id = v_delivery.run_id
        and d.delivery_id = v_delivery.delivery_id
      returning d.* into v_delivery;
      v_wanted := v_wanted - 1;
      v_room := v_room - 1;
      v_unproven := v_unproven - (not v_endpoint.proven)::integer;
      body := tide._delivery_body(v_delivery);
      delivery_id := v_delivery.delivery_id;
      lease_id := v_delivery.lease_id;
      run_id := v_delivery.run_id;
      type := v_delivery.type;
      attempt := v_delivery.attempts;
      url := v_delivery.url;
      secret_name := v_delivery.secret_name;
      headers := tide._webhook_headers(delivery_id, secret_name, body)
        || coalesce(
          v_delivery.trace,
          (
            select tide._trace_headers(r.metadata -> 'trace')
            from tide.runs as r
            where r.run_id = v_delivery.run_id
          ),
          '{}'
        );
      return next;
    end loop;
  end loop;
end;
$$;

comment on function tide.claim_deliveries is
  'Lease due deliveries to a dispatcher: what to send where, with which headers. headers has the '
  'signatures where the secret is stored in the database, and the trace of the attempt that made it, or '
  'of the run. Each goes out until finish_delivery says how it went; without a word it goes out again '
  'after the lease.';
