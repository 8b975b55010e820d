create or replace function tide._next_look(now timestamptz)
returns timestamptz
language plpgsql
stable
as $$
declare
  v_lane text := '';
  v_until timestamptz;
  v_at timestamptz;
begin
  -- Of more lanes than these one is taken for open: looking too early is harmless.
  for v_lanes in 1..100 loop
    select w.lane
    into v_lane
    from tide.lane_waits as w
    where w.lane > v_lane
    order by w.lane, w.lane_key, w.priority desc, w.run_at, w.run_id
    limit 1;
    if not found then
      return v_at;
    end if;
    v_until := tide._shut_until(v_lane);
    exit when v_until is null;
    v_at := least(v_at, v_until);
  end loop;
  return least(v_at, now + interval '1 second');
end;
$$;

comment on function tide._next_look is
  'When runs that wait in lanes are to be looked at next: in a second, or when the first of their lanes '
  'may go on or probe; null = none wait.';
