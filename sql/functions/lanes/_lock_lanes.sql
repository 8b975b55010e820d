create or replace function tide._lock_lanes(failing text[], throttled text[])
returns void
language plpgsql
volatile
as $$
begin
  perform
  from tide.lanes as l
  where l.lane = any (_lock_lanes.throttled)
    or l.lane = any (_lock_lanes.failing)
    and l.breaker_failures is not null
  order by l.lane
  for no key update;
end;
$$;

comment on function tide._lock_lanes is
  'Lock the lanes that reports of failed or rate limited runs may write, in the order of their names.';
