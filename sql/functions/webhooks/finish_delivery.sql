create or replace function tide.finish_delivery(
  delivery_id uuid,
  lease_id uuid,
  http_status integer default null,
  response text default null,
  error text default null,
  retry_after interval default null
)
returns table (status text, attempts integer, due_at timestamptz)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_delivery tide.deliveries;
begin
  perform tide._require_read_committed('finish_delivery');
  v_delivery := (
    select d
    from tide.deliveries as d
    where d.delivery_id = finish_delivery.delivery_id
    for no key update
  );
  if v_delivery.delivery_id is null
    or finish_delivery.lease_id is distinct from v_delivery.lease_id
  then
    perform tide._require_delivery(finish_delivery.delivery_id);
  end if;
  if v_delivery.delivery_id is null then
    raise exception 'delivery % does not exist',
        coalesce(finish_delivery.delivery_id::text, 'null')
      using errcode = 'TD010',
            hint = 'Check the id; retention may have removed its run.';
  elsif v_delivery.lease_id = finish_delivery.lease_id then
    perform tide._take_answer(
      v_delivery,
      finish_delivery.http_status,
      left(finish_delivery.response, 8000),
      left(finish_delivery.error, 1000),
      case
        when finish_delivery.retry_after is not null then least(
          tide._valid_retry_after(finish_delivery.retry_after), interval '1 day'
        )
      end
    );
  elsif v_delivery.ended_lease_id is distinct from finish_delivery.lease_id
    or finish_delivery.lease_id is null
  then
    raise exception 'the lease on delivery % is lost', v_delivery.delivery_id
      using errcode = 'TD002',
            detail = format('It is %s, attempt %s.', v_delivery.status, v_delivery.attempts),
            hint = 'Another dispatcher sends it; forget it.';
  end if;
  return query
  select
    d.status,
    d.attempts,
    d.due_at
  from tide.deliveries as d
  where d.run_id = v_delivery.run_id
    and d.delivery_id = v_delivery.delivery_id;
end;
$$;

comment on function tide.finish_delivery is
  'Report how sending a delivery went: delivered for a status from 200 to 299, or when the run it asks '
  'for has been begun; else it is sent again after a growing pause, at the earliest after retry_after, '
  'or dead after its last attempt or 410. A lost lease: TD002.';
