-- Bounded looks: a lane with a million runs costs what one with ten thousand costs.
create or replace function tide.list_lanes(lanes text[] default null)
returns table (
  lane text,
  total integer,
  per_key integer,
  running bigint,
  waiting bigint,
  keys jsonb,
  created_at timestamptz,
  updated_at timestamptz,
  throttled_until timestamptz,
  throttle_reason text
)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
  v_now constant timestamptz := tide._now();
  v_most constant integer := 10001;
begin
  return query
  select
    l.lane,
    l.total,
    l.per_key,
    k.running,
    k.waiting,
    k.keys,
    l.created_at,
    l.updated_at,
    t.until,
    case when t.until is not null then l.throttle_reason end
  from tide.lanes as l
  cross join lateral (
    select
      coalesce(sum(n.running), 0)::bigint as running,
      coalesce(sum(n.waiting), 0)::bigint as waiting,
      coalesce(
        jsonb_agg(
          jsonb_build_object(
            'lane_key', n.lane_key, 'running', n.running, 'waiting', n.waiting
          )
          order by n.running + n.waiting desc, n.lane_key
        ) filter (where n.place <= 20),
        '[]'
      ) as keys
    from (
      select
        m.lane_key,
        count(*) filter (where m.running) as running,
        count(*) filter (where not m.running) as waiting,
        row_number() over (order by count(*) desc, m.lane_key) as place
      from (
        (
          select
            r.lane_key,
            true as running
          from tide.runs_active as r
          where r.lane = l.lane
            and (r.status = 'running' or r.dispatched_until is not null)
          order by r.lane, r.lane_key, r.run_id
          limit v_most
        )
        union all
        (
          select
            a.lane_key,
            false
          from (
            select w.run_id
            from tide.lane_waits as w
            where w.lane = l.lane
            order by w.lane, w.lane_key, w.priority desc, w.run_at, w.run_id
            limit v_most
          ) as w
          join tide.runs_active as a on a.run_id = w.run_id
        )
      ) as m
      group by m.lane_key
    ) as n
  ) as k
  cross join lateral (
    select case when l.throttled_until > v_now then l.throttled_until end as until
  ) as t
  where list_lanes.lanes is null
    or l.lane = any (list_lanes.lanes)
  order by l.lane;
end;
$$;

comment on function tide.list_lanes is
  'All lanes, or those given: limits, how many of their runs run and how many wait for a place, each '
  'counted to 10001 and no further, the twenty keys with most of them, and until when the lane is '
  'throttled, null = it is not.';
