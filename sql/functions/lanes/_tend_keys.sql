create or replace function tide._tend_keys(max_keys integer)
returns integer
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
  v_key tide.lane_keys;
  v_tended integer := 0;
begin
  for v_key in
    select k.*
    from tide.lane_keys as k
    where k.looked_at < v_now - interval '10 minutes'
    order by k.looked_at
    limit _tend_keys.max_keys
    for update skip locked
  loop
    v_tended := v_tended + 1;
    if exists (
      select
      from tide.lane_waits as w
      where w.lane = v_key.lane
        and w.lane_key = v_key.lane_key
    ) then
      update tide.lane_keys as k
      set looked_at = v_now
      where k.lane = v_key.lane
        and k.lane_key = v_key.lane_key;
    else
      delete from tide.lane_keys as k
      where k.lane = v_key.lane
        and k.lane_key = v_key.lane_key;
    end if;
  end loop;
  return v_tended;
end;
$$;

comment on function tide._tend_keys is
  'Forget keys of fair lanes not looked at for ten minutes in whose lines nothing waits.';
