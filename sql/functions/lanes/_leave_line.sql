create or replace function tide._leave_line(run_ids uuid[])
returns void
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
  v_run_ids uuid[];
  v_run_ats timestamptz[];
  v_turns timestamptz[];
  v_group record;
  v_turnless uuid[];
begin
  with gone as (
    delete from tide.lane_waits as w
    where w.run_id = any (_leave_line.run_ids)
    returning
      w.run_id,
      w.run_at,
      w.due_at
  )
  select
    array_agg(g.run_id),
    array_agg(coalesce(g.due_at, g.run_at)),
    array_agg(case when g.due_at is not null then g.run_at end)
  into
    v_run_ids,
    v_run_ats,
    v_turns
  from gone as g;
  for v_group in
    with woken as (
      update tide.runs_active as r
      set
        ready = v_run_ats[array_position(v_run_ids, r.run_id)] <= v_now,
        waiting_on = null,
        waiting_for = null,
        run_at = v_run_ats[array_position(v_run_ids, r.run_id)],
        turn_at = v_turns[array_position(v_run_ids, r.run_id)]
      where r.run_id = any (v_run_ids)
      returning
        r.run_id,
        r.queue,
        r.priority,
        r.run_at,
        r.turn_at,
        r.ready
    )
    select
      w.queue,
      case when w.turn_at is null then w.priority else 0 end as priority,
      min(coalesce(least(w.turn_at, v_now), w.run_at)) as run_at,
      count(*)::integer as runs,
      array_agg(w.run_id) filter (where w.ready and w.turn_at is null) as turnless
    from woken as w
    group by
      1,
      2
  loop
    perform tide._make_ready(v_group.queue, v_group.priority, v_group.run_at, v_group.runs);
    v_turnless := v_turnless || v_group.turnless;
  end loop;
  if v_turnless is not null then
    perform tide._give_turns(g.lane, g.lane_key, g.queue, g.run_ids)
    from (
      select
        r.lane,
        coalesce(r.lane_key, '') as lane_key,
        r.queue,
        array_agg(r.run_id order by r.priority desc, r.run_at, r.run_id) as run_ids
      from tide.runs_active as r
      where r.run_id = any (v_turnless)
        and exists (
          select
          from tide.lanes as l
          where l.lane = r.lane
            and l.fair
        )
      group by
        1,
        2,
        3
    ) as g;
  end if;
end;
$$;

comment on function tide._leave_line is
  'Give runs that wait in lines of their lanes, locked by the caller, their places in their queues back.';
