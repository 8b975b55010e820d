create or replace function tide._is_charged(charges tide.lane_charges[], run_id uuid)
returns boolean
language plpgsql
immutable
parallel safe
as $$
begin
  return exists (
    select
    from unnest(_is_charged.charges) as c
    where c.run_id = _is_charged.run_id
  );
end;
$$;

comment on function tide._is_charged is 'Whether one of some charges is for a run.';
