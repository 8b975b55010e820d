-- Over so many parts that each still serves what is asked for now: the last money lies together.
create or replace function tide._spread(
  allowance_id uuid,
  began_at timestamptz,
  amount numeric,
  portion numeric
)
returns void
language plpgsql
volatile
as $$
declare
  v_parts integer;
  v_each numeric;
begin
  select greatest(1, least(count(*), floor(_spread.amount / _spread.portion)))
  into v_parts
  from tide.purses as p
  where p.allowance_id = _spread.allowance_id;
  v_each := trunc(_spread.amount / v_parts, greatest(scale(_spread.amount), 12));
  update tide.purses as p
  set
    began_at = _spread.began_at,
    free = case
      when p.purse = 1 then _spread.amount - v_each * (v_parts - 1)
      when p.purse <= v_parts then v_each
      else 0
    end
  where p.allowance_id = _spread.allowance_id;
end;
$$;

comment on function tide._spread is
  'Spread an amount over the parts of an allowance, all locked by the caller, each at least a portion.';
