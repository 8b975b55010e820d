create or replace function tide.redeliver(delivery_id uuid)
returns tide.deliveries
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_now constant timestamptz := tide._now();
  v_delivery tide.deliveries;
begin
  perform tide._require_read_committed('redeliver');
  perform tide._require_delivery(redeliver.delivery_id);
  v_delivery := (
    select d
    from tide.deliveries as d
    where d.delivery_id = redeliver.delivery_id
    for no key update
  );
  if v_delivery.delivery_id is null then
    raise exception 'delivery % does not exist', coalesce(redeliver.delivery_id::text, 'null')
      using errcode = 'TD010',
            hint = 'See list_deliveries.';
  elsif v_delivery.status <> 'pending' then
    update tide.deliveries as d
    set
      status = 'pending',
      attempts = 0,
      due_at = v_now,
      expires_at = v_now + interval '72 hours',
      lease_id = null,
      finished_at = null,
      logged = false
    where d.run_id = v_delivery.run_id
      and d.delivery_id = v_delivery.delivery_id
    returning d.* into v_delivery;
    -- Whoever asks has looked at the receiver: the next attempt need not wait for the breaker.
    update tide.endpoints as e
    set open_until = null
    where e.endpoint = v_delivery.endpoint;
  end if;
  v_delivery.token := null;
  v_delivery.lease_id := null;
  v_delivery.ended_lease_id := null;
  return v_delivery;
end;
$$;

comment on function tide.redeliver is
  'Send a dead, dropped or delivered webhook again, with the same id; a pending one is returned as '
  'it is. Unknown: TD010.';
