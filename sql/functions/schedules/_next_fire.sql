-- As Vixie cron. Fixed times: in a gap once, at its end; of times that occur twice the first. Times
-- with * for minute or hour: by elapsed time, so an hour that occurs twice fires in both passes.
create or replace function tide._next_fire(timing tide.cron, after timestamptz, time_zone text)
returns timestamptz
language plpgsql
stable
parallel safe
as $$
declare
  v_here constant timestamp := _next_fire.after at time zone _next_fire.time_zone;
  v_local timestamp := v_here;
  v_instants timestamptz[];
  v_fire timestamptz;
  v_back interval;
begin
  loop
    v_local := tide._next_local(timing, v_local);
    exit when v_local is null;
    v_instants := tide._local_instants(v_local, _next_fire.time_zone);
    if cardinality(v_instants) = 0 and not timing.elapsed then
      v_instants := array[tide._gap_end(v_local, _next_fire.time_zone)];
    end if;
    v_fire := case
      when v_instants[1] > _next_fire.after then v_instants[1]
      when timing.elapsed and v_instants[2] > _next_fire.after then v_instants[2]
    end;
    exit when v_fire is not null;
  end loop;
  if timing.elapsed then
    -- Clocks about to be put back show again what they have shown since v_here - v_back.
    v_back := tide._utc_offset(_next_fire.after, _next_fire.time_zone)
      - tide._utc_offset(_next_fire.after + interval '24 hours', _next_fire.time_zone);
    if v_back > interval '0' then
      v_local := v_here - v_back - interval '1 minute';
      loop
        v_local := tide._next_local(timing, v_local);
        exit when v_local is null or v_local > v_here;
        v_instants := tide._local_instants(v_local, _next_fire.time_zone);
        if v_instants[2] > _next_fire.after then
          return least(v_fire, v_instants[2]);
        end if;
      end loop;
    end if;
  end if;
  return v_fire;
end;
$$;

comment on function tide._next_fire is 'The next fire of a parsed cron expression in a time zone.';
