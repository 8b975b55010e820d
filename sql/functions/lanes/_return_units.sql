create or replace function tide._return_units(run_ids uuid[])
returns void
language plpgsql
volatile
as $$
begin
  delete from tide.lane_charges as c
  where c.run_id = any (_return_units.run_ids)
    and c.open
    and c.charge_id in (
      select o.charge_id
      from tide.lane_charges as o
      where o.run_id = any (_return_units.run_ids)
        and o.open
      for update skip locked
    );
end;
$$;

comment on function tide._return_units is
  'Take back what the caller has charged for runs that it does not start.';
