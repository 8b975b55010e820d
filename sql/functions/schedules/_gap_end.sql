create or replace function tide._gap_end(local timestamp, time_zone text)
returns timestamptz
language plpgsql
stable
parallel safe
as $$
declare
  v_moved constant timestamptz := _gap_end.local at time zone _gap_end.time_zone;
  v_offset constant interval := tide._utc_offset(v_moved, _gap_end.time_zone);
  -- Seconds after v_moved: at v_low clocks are not yet put forward, at v_high they are.
  v_high integer := 0;
  v_low integer := extract(
    epoch from _gap_end.local - (v_moved at time zone _gap_end.time_zone)
  );
  v_middle integer;
begin
  while v_high - v_low > 1 loop
    v_middle := (v_low + v_high) / 2;
    if tide._utc_offset(v_moved + make_interval(secs => v_middle), _gap_end.time_zone) = v_offset
    then
      v_high := v_middle;
    else
      v_low := v_middle;
    end if;
  end loop;
  return v_moved + make_interval(secs => v_high);
end;
$$;

comment on function tide._gap_end is
  'When clocks that skip a time are put forward: the end of the gap the time lies in.';
