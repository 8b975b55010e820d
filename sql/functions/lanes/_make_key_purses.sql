-- Beside another claim that makes them they are missing for a moment, as in _make_key_slots.
create or replace function tide._make_key_purses(lane text, lane_key text)
returns void
language plpgsql
volatile
as $$
begin
  if (
      select count(*)
      from tide.lane_purses as p
      where p.lane = _make_key_purses.lane
        and p.lane_key = _make_key_purses.lane_key
    ) < tide._purse_count(lane_key)
    and tide._take_turn('lane ' || lane)
  then
    perform tide._make_purses(lane, lane_key);
  end if;
end;
$$;

comment on function tide._make_key_purses is
  'Make the purses of a key that a claim needs: keys are met, not set.';
