create or replace function tide._give(
  allowance_id uuid,
  amount numeric,
  began_at timestamptz,
  waits boolean
)
returns boolean
language plpgsql
volatile
as $$
declare
  v_candidates constant integer[] := array(
    select p.purse
    from tide.purses as p
    where p.allowance_id = _give.allowance_id
      and p.began_at = _give.began_at
    order by
      least(p.free, 0),
      p.purse
  );
  v_purse integer;
begin
  if cardinality(v_candidates) = 0 then
    -- Its window has ended, or the allowance was dropped.
    return true;
  end if;
  v_purse := tide._lock_purse(allowance_id, v_candidates);
  if v_purse is null then
    if not waits then
      return false;
    end if;
    v_purse := v_candidates[1 + floor(random() * cardinality(v_candidates))::integer];
  end if;
  update tide.purses as p
  set free = p.free + _give.amount
  where p.allowance_id = _give.allowance_id
    and p.purse = v_purse
    and p.began_at = _give.began_at;
  return true;
end;
$$;

comment on function tide._give is
  'Give an amount back to an allowance, of the window it was taken from; false = it could not be done '
  'without waiting.';
