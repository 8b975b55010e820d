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
  v_candidates integer[];
  v_overdrawn boolean;
  v_taken record;
  v_locked boolean := false;
begin
  select
    array_agg(p.purse order by p.purse) filter (
      where case when p.began_at < v_window then p.share else p.free end >= _take.asked
    ),
    bool_or(p.free < 0 and p.began_at >= v_window)
  into
    v_candidates,
    v_overdrawn
  from tide.purses as p
  where p.allowance_id = allowance.allowance_id;
  if v_overdrawn or v_candidates is null then
    return tide._take_all(allowance, v_window, _take.asked);
  end if;
  -- Once more at the end, and then it is waited for.
  for v_place in 1 .. cardinality(v_candidates) + 1 loop
    select
      t.locked,
      t.began_at
    into v_taken
    from tide._take_from(
      allowance.allowance_id,
      coalesce(
        v_candidates[v_place],
        v_candidates[1 + floor(random() * cardinality(v_candidates))::integer]
      ),
      v_window,
      _take.asked,
      waits => v_place > cardinality(v_candidates) and not v_locked
    ) as t;
    v_locked := v_locked or v_taken.locked;
    exit when v_taken.began_at is not null;
  end loop;
  return v_taken.began_at;
end;
$$;

comment on function tide._take is
  'Take an amount from an allowance and return when the window began that it is of; null = too little is '
  'left, or too much goes on there at once to say: the sweep wakes who is parked by that.';
