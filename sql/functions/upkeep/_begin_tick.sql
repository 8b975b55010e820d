-- A claim in a transaction that stays open holds the row of ticks for as long. Then the rows of turns
-- take its place, one after the other.
create or replace function tide._begin_tick(now timestamptz)
returns boolean
language plpgsql
volatile
as $$
declare
  v_next_at constant timestamptz := _begin_tick.now + interval '500 milliseconds';
  v_turn text;
begin
  perform
  from tide.ticks as t
  where t.next_at <= _begin_tick.now
    or t.next_at > _begin_tick.now + interval '10 seconds' and t.next_at < 'infinity'
  for no key update skip locked;
  if found then
    update tide.ticks as t
    set next_at = v_next_at;
    return true;
  end if;
  if not exists (
      select
      from tide.ticks as t
      where t.next_at <= _begin_tick.now - interval '1 second'
        or t.next_at > _begin_tick.now + interval '10 seconds' and t.next_at < 'infinity'
    )
    or exists (
      select
      from tide.turns as u
      where u.next_at > _begin_tick.now
        and u.next_at <= _begin_tick.now + interval '10 seconds'
    )
  then
    return false;
  end if;
  select u.turn
  into v_turn
  from tide.turns as u
  where u.turn like 'tick %'
  order by u.turn
  limit 1
  for no key update skip locked;
  if not found then
    return false;
  end if;
  update tide.turns as u
  set next_at = v_next_at
  where u.turn = v_turn;
  return true;
end;
$$;

comment on function tide._begin_tick is
  'Whether this caller carries the small tick that is due: one of all within its interval.';
