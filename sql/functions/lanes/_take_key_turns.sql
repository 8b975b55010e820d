-- Keys are met, not set: the row of one is made under the turn of the lane, so that nobody waits for who
-- makes it beside this.
create or replace function tide._take_key_turns(lines tide.lane_lines[])
returns tide.lane_lines[]
language plpgsql
volatile
as $$
declare
  v_lines tide.lane_lines[] := array(
    select n
    from unnest(_take_key_turns.lines) as n
    cross join lateral (
      select k.lane
      from tide.lane_keys as k
      where k.lane = n.lane
        and k.lane_key = n.lane_key
      for no key update skip locked
    ) as k
  );
  v_line tide.lane_lines;
begin
  if cardinality(v_lines) = cardinality(lines) then
    return v_lines;
  end if;
  for v_line in
    select n.*
    from unnest(_take_key_turns.lines) as n
    where not exists (
      select
      from tide.lane_keys as k
      where k.lane = n.lane
        and k.lane_key = n.lane_key
    )
  loop
    continue when not tide._take_turn('lane ' || v_line.lane);
    insert into tide.lane_keys (lane, lane_key, looked_at)
    values (v_line.lane, v_line.lane_key, tide._now())
    on conflict on constraint lane_keys_pkey do nothing;
    if found then
      v_lines := v_lines || v_line;
    end if;
  end loop;
  return v_lines;
end;
$$;

comment on function tide._take_key_turns is
  'Take the turns for bringing up runs of keys of fair lanes until the transaction ends, and return the '
  'lines of these: of others another session has it.';
