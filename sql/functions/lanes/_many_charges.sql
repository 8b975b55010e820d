create or replace function tide._many_charges()
returns integer
language sql
immutable
parallel safe
as $$
select 16
$$;

comment on function tide._many_charges is
  'How many settled charges of a purse are folded into bins: claims add up fewer one by one.';
