create or replace function tide._settle_deliveries(max_deliveries integer)
returns integer
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
  v_delivery tide.deliveries;
  v_settled integer := 0;
begin
  for v_delivery in
    select d.*
    from tide.deliveries as d
    where d.status = 'pending'
      and d.expires_at <= v_now
    order by d.expires_at
    limit _settle_deliveries.max_deliveries
    for no key update skip locked
  loop
    perform tide._end_delivery(
      v_delivery,
      case when v_delivery.type = 'run.invoke' then 'dropped' else 'dead' end,
      'its time was over'
    );
    v_settled := v_settled + 1;
  end loop;
  for v_delivery in
    select d.*
    from tide.deliveries as d
    where d.status = 'dead'
      and not d.logged
    order by d.finished_at
    limit _settle_deliveries.max_deliveries
    for no key update skip locked
  loop
    -- Tried only: a run somebody holds is logged with the next tick.
    if tide._try_lock(v_delivery.run_id) then
      perform tide._log(
        v_delivery.run_id,
        'delivery.failed',
        jsonb_build_object(
          'delivery_id', v_delivery.delivery_id,
          'type', v_delivery.type,
          'endpoint', v_delivery.endpoint,
          'attempts', v_delivery.attempts,
          'http_status', v_delivery.http_status,
          'error', v_delivery.error
        ),
        renews => false
      );
      update tide.deliveries as d
      set logged = true
      where d.run_id = v_delivery.run_id
        and d.delivery_id = v_delivery.delivery_id;
      v_settled := v_settled + 1;
    end if;
  end loop;
  return v_settled;
end;
$$;

comment on function tide._settle_deliveries is
  'Give up webhooks whose time is over, and log on their runs those that were given up.';
