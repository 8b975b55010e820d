-- A claim takes more from one key than it has heads only where these are as many as claims took before.
-- One statement for all lines: what it takes is still there for it, so it counts these heads too. A clock
-- that another has just moved is left to that one.
create or replace function tide._use_turns(run_ids uuid[], turns tide.lane_heads[])
returns void
language plpgsql
volatile
as $$
declare
  v_low constant integer := tide._turns() / 2;
  v_all constant boolean := cardinality(run_ids) = cardinality(turns);
  v_lines tide.lane_lines[];
begin
  with used as (
    delete from tide.lane_heads as h
    using unnest(_use_turns.turns) as u
    where h.lane = u.lane
      and h.lane_key = u.lane_key
      and h.turn_at = u.turn_at
      and h.run_id = u.run_id
      and (v_all or u.run_id = any (_use_turns.run_ids))
    returning
      h.lane,
      h.lane_key,
      h.queue,
      h.turn_at
  ),
  moved as (
    update tide.lane_clocks as c
    set turn_at = b.turn_at
    from (
      select
        n.ctid as place,
        m.turn_at
      from (
        select
          u.lane,
          max(u.turn_at) as turn_at
        from used as u
        group by u.lane
      ) as m
      join tide.lane_clocks as n on n.lane = m.lane
      where n.turn_at < m.turn_at
      for no key update of n skip locked
    ) as b
    where c.ctid = b.place
  )
  select
    array_agg(
      (
        n.lane, n.lane_key, n.queue, greatest(tide._turns(), 2 * n.runs), null
      )::tide.lane_lines
    )
  into v_lines
  from (
    select
      u.lane,
      u.lane_key,
      u.queue,
      count(*)::integer as runs
    from used as u
    where u.lane_key <> ''
    group by
      u.lane,
      u.lane_key,
      u.queue
  ) as n
  where (
      select count(*)
      from (
        select
        from tide.lane_heads as h
        where h.lane = n.lane
          and h.lane_key = n.lane_key
          and h.queue = n.queue
        order by h.lane, h.lane_key, h.turn_at
        limit n.runs + v_low
      ) as c
    ) < n.runs + v_low
    and exists (
      select
      from tide.lane_waits as w
      where w.lane = n.lane
        and w.lane_key = n.lane_key
        and w.queue = n.queue
    );
  if v_lines is not null then
    perform tide._bring_up(v_lines);
  end if;
end;
$$;

comment on function tide._use_turns is
  'Take claimed runs out of the order of their fair lanes, move on the virtual time, and bring up the next '
  'runs of their keys.';
