create or replace function tide._take_turn(turn text)
returns boolean
language plpgsql
volatile
as $$
begin
  perform
  from tide.turns as t
  where t.turn = _take_turn.turn
  for no key update skip locked;
  return found;
end;
$$;

comment on function tide._take_turn is
  'Take the turn for a piece of upkeep until the transaction ends; false = another session has it.';
