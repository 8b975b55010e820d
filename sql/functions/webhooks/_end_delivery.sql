create or replace function tide._end_delivery(
  delivery tide.deliveries,
  status text,
  error text default null
)
returns void
language plpgsql
volatile
as $$
begin
  update tide.deliveries as d
  set
    status = _end_delivery.status,
    finished_at = tide._now(),
    token = case when _end_delivery.status = 'dead' then d.token end,
    error = coalesce(left(_end_delivery.error, 1000), d.error)
  where d.run_id = delivery.run_id
    and d.delivery_id = delivery.delivery_id;
end;
$$;

comment on function tide._end_delivery is 'Mark a locked delivery as delivered, dead or dropped.';
