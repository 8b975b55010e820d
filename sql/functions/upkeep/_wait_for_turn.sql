create or replace function tide._wait_for_turn(turn text)
returns void
language plpgsql
volatile
as $$
begin
  insert into tide.turns (turn)
  values (_wait_for_turn.turn)
  on conflict on constraint turns_pkey do nothing;
  perform
  from tide.turns as t
  where t.turn = _wait_for_turn.turn
  for no key update;
end;
$$;

comment on function tide._wait_for_turn is
  'Take a turn until the transaction ends, after the session that has it.';
