create or replace function tide._turns()
returns integer
language sql
immutable
parallel safe
as $$
select 16
$$;

comment on function tide._turns is
  'How many runs of one key and queue stand in the order of claims at once: as many as claims take before '
  'one of them has brought up the next.';
