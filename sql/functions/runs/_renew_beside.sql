-- A row that somebody else writes just now is passed over, and another one made.
create or replace function tide._renew_beside(run_ids uuid[], lease interval)
returns void
language plpgsql
volatile
as $$
declare
  v_until constant timestamptz := tide._now() + _renew_beside.lease;
  v_renewed uuid[];
begin
  with free as (
    select
      k.ctid as place,
      r.run_id,
      r.lease_id
    from tide.lease_renewals as k
    join tide.runs_active as r on r.run_id = k.run_id
    where k.run_id = any (_renew_beside.run_ids)
      and r.leased_until is not null
    for no key update of k skip locked
  ), renewed as (
    update tide.lease_renewals as b
    set
      lease_id = f.lease_id,
      leased_until = greatest(
        v_until, case when b.lease_id = f.lease_id then b.leased_until end
      )
    from free as f
    where b.ctid = f.place
    returning b.run_id
  )
  select array_agg(n.run_id)
  into v_renewed
  from renewed as n;
  insert into tide.lease_renewals (run_id, lease_id, leased_until)
  select
    r.run_id,
    r.lease_id,
    v_until
  from tide.runs_active as r
  where r.run_id = any (_renew_beside.run_ids)
    and r.run_id <> all (coalesce(v_renewed, '{}'))
    and r.leased_until is not null;
end;
$$;

comment on function tide._renew_beside is
  'Renew leases without the rows of their runs, which other transactions hold.';
