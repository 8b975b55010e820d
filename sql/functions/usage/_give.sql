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
  v_purses integer[];
  v_purse integer;
begin
  -- To a part that lacks something first.
  update tide.purses as p
  set free = p.free + _give.amount
  where p.allowance_id = _give.allowance_id
    and p.purse = (
      select c.purse
      from tide.purses as c
      where c.allowance_id = _give.allowance_id
        and c.began_at = _give.began_at
      order by
        least(c.free, 0),
        c.purse
      for no key update skip locked
      limit 1
    );
  if found then
    return true;
  end if;
  v_purses := array(
    select p.purse
    from tide.purses as p
    where p.allowance_id = _give.allowance_id
      and p.began_at = _give.began_at
  );
  if cardinality(v_purses) = 0 or not waits then
    -- Its window has ended, or the allowance was dropped, or all parts are locked.
    return cardinality(v_purses) = 0;
  end if;
  v_purse := v_purses[1 + floor(random() * cardinality(v_purses))::integer];
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
