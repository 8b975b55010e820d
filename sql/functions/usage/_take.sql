-- Which parts may have enough is looked at without locks; then each is locked by its key and judged by
-- what it holds now. A lock stays until the transaction ends, also on a part that turns out to have too
-- little: from then on nothing of this allowance is waited for, since _take_all may wait for that part.
-- A negative part means that what the others hold may be spent already: _take_all adds up.
create or replace function tide._take(allowance tide.allowances, asked numeric)
returns timestamptz
language plpgsql
volatile
as $$
declare
  v_window constant timestamptz := tide._window_start(
    allowance.per, allowance.time_zone, tide._now()
  );
  v_candidates integer[] := array[]::integer[];
  v_purse integer;
  v_taken record;
  v_locked boolean := false;
begin
  if not tide._is_overdrawn(allowance.allowance_id, v_window) then
    v_candidates := array(
      select p.purse
      from tide.purses as p
      where p.allowance_id = allowance.allowance_id
        and case when p.began_at < v_window then p.share else p.free end >= _take.asked
      order by p.purse
    );
  end if;
  if cardinality(v_candidates) = 0 then
    return tide._take_all(allowance, v_window, _take.asked);
  end if;
  -- Once more at the end, and then it is waited for.
  for v_place in 1 .. cardinality(v_candidates) + 1 loop
    v_purse := coalesce(
      v_candidates[v_place], v_candidates[1 + floor(random() * cardinality(v_candidates))::integer]
    );
    select
      t.locked,
      t.began_at
    into v_taken
    from tide._take_from(
      allowance.allowance_id,
      v_purse,
      v_window,
      _take.asked,
      waits => v_place > cardinality(v_candidates) and not v_locked
    ) as t;
    v_locked := v_locked or v_taken.locked;
    exit when v_taken.began_at is not null;
  end loop;
  if v_taken.began_at is not null
    and tide._is_overdrawn(allowance.allowance_id, v_window)
  then
    update tide.purses as p
    set free = p.free + _take.asked
    where p.allowance_id = allowance.allowance_id
      and p.purse = v_purse;
    return null;
  end if;
  return v_taken.began_at;
end;
$$;

comment on function tide._take is
  'Take an amount from an allowance and return when the window began that it is of; null = too little is '
  'left, or too much goes on there at once to say: the sweep wakes who is parked by that.';
