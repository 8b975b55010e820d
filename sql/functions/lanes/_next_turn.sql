-- A lane where nothing stands in the order begins again at the time of day, so that beside other runs of its
-- queues it is as old as its oldest work; until the first is claimed only those that stand there tell.
create or replace function tide._next_turn(lane text, lane_key text)
returns table (after_at timestamptz, length interval, per_key integer)
language sql
stable
as $$
select
  greatest(
    (
      select c.turn_at
      from tide.lane_clocks as c
      where c.lane operator(pg_catalog.=) _next_turn.lane
    ),
    coalesce(
      (
        select h.turn_at operator(pg_catalog.-) '1 millisecond'::interval
        from tide.lane_heads as h
        where h.lane operator(pg_catalog.=) _next_turn.lane
        order by h.turn_at
        limit 1
      ),
      tide._now()
    ),
    (
      select h.turn_at
      from tide.lane_heads as h
      where h.lane operator(pg_catalog.=) _next_turn.lane
        and h.lane_key operator(pg_catalog.=) _next_turn.lane_key
      order by h.turn_at desc
      limit 1
    )
  ),
  '1 millisecond'::interval operator(pg_catalog./) tide._weight(l, _next_turn.lane_key),
  l.per_key
from (
  values (true)
) as v(always)
left join tide.lanes as l on l.lane operator(pg_catalog.=) _next_turn.lane
$$;

comment on function tide._next_turn is
  'After which time of a fair lane the next run of a key has its turn, the virtual time of the lane or the '
  'last turn of the key, how far each run of the key moves on from there, and how many may run at once.';
