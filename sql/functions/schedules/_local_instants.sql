-- Postgres reads a time that occurs twice as the later one, and moves a time that does not occur.
create or replace function tide._local_instants(local timestamp, time_zone text)
returns timestamptz[]
language plpgsql
stable
parallel safe
as $$
declare
  v_last constant timestamptz := _local_instants.local at time zone _local_instants.time_zone;
  v_shift interval;
begin
  if v_last at time zone _local_instants.time_zone <> _local_instants.local then
    return array[]::timestamptz[];
  end if;
  v_shift := tide._utc_offset(v_last - interval '24 hours', _local_instants.time_zone)
    - tide._utc_offset(v_last, _local_instants.time_zone);
  if v_shift > interval '0'
    and (v_last - v_shift) at time zone _local_instants.time_zone = _local_instants.local
  then
    return array[v_last - v_shift, v_last];
  end if;
  return array[v_last];
end;
$$;

comment on function tide._local_instants is
  'When clocks of a zone show this time: once, never while they are put forward, twice while back.';
