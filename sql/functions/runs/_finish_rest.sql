create or replace function tide._finish_rest(
  ended tide.ended[],
  status text,
  error jsonb,
  failure_class text,
  reason text,
  actor text
)
returns void
language plpgsql
volatile
as $$
declare
  v_asking uuid[];
  v_children uuid[];
  v_followed uuid[];
  v_holding uuid[];
  v_budgeted uuid[];
  v_unslotted boolean;
  v_laned uuid[];
  v_holds tide.lane_holds[];
  v_charged boolean;
  v_limited boolean;
  v_several boolean;
  v_told boolean;
begin
  select
    array_agg(e.run_id) filter (where e.open_gates > 0),
    array_agg(e.run_id) filter (where e.parent_id is not null),
    array_agg(e.run_id) filter (where e.followed),
    array_agg(e.run_id) filter (where e.holds_key),
    array_agg(e.run_id) filter (where e.budgeted),
    bool_and(e.slot is null),
    array_agg(e.run_id) filter (where e.lane is not null),
    bool_and(e.told)
  into
    v_asking, v_children, v_followed, v_holding, v_budgeted, v_unslotted, v_laned, v_told
  from unnest(_finish_rest.ended) as e;
  if v_budgeted is not null then
    perform tide._end_budgets(v_budgeted);
  end if;
  if not v_unslotted then
    update tide.slots as s
    set run_id = null
    from unnest(_finish_rest.ended) as e
    where s.queue = e.queue
      and s.slot = e.slot
      and s.run_id = e.run_id;
  end if;
  if v_laned is not null then
    -- Where nothing limits a lane nobody waits for what its runs leave.
    select
      h.holds,
      h.charged,
      h.placed
      or exists (
        select
        from tide.lanes as l
        where l.lane = any (h.lanes)
          and num_nonnulls(
            l.total,
            l.per_key,
            l.units,
            l.units_per_key,
            l.throttled_until,
            l.breaker_failures,
            l.opened_at
          ) > 0
      ),
      exists (
        select
        from tide.run_lanes as o
        where o.run_id = any (v_laned)
      )
    into
      v_holds,
      v_charged,
      v_limited,
      v_several
    from (
      select
        array_agg(
          (e.run_id, e.lane, e.lane_key, e.lane_slot, e.lane_key_slot)::tide.lane_holds
        ) filter (where e.held) as holds,
        array_agg(e.lane) as lanes,
        bool_or(e.charged) as charged,
        count(coalesce(e.lane_slot, e.lane_key_slot)) > 0 as placed
      from unnest(_finish_rest.ended) as e
      where e.lane is not null
    ) as h;
    if v_charged then
      perform tide._settle_units(e.run_id, e.units_used)
      from unnest(_finish_rest.ended) as e
      where e.charged;
    end if;
    if v_limited and v_holds is not null then
      perform tide._free_places(v_holds, completed => _finish_rest.status = 'completed');
    end if;
    if cardinality(v_laned) > coalesce(cardinality(v_holds), 0) then
      perform tide._leave_lane(e.run_id, e.lane, e.lane_key)
      from unnest(_finish_rest.ended) as e
      where e.lane is not null
        and not e.held;
    end if;
    if v_several then
      perform tide._end_more_lanes(
        o,
        case when e.reported then nullif(coalesce(o.cost, 1) - o.units_left, 0) end,
        completed => _finish_rest.status = 'completed'
      )
      from tide.run_lanes as o
      cross join lateral (
        select n.reported
        from unnest(_finish_rest.ended) as n
        where n.run_id = o.run_id
      ) as e
      where o.run_id = any (v_laned);
    end if;
  end if;
  if not v_told then
    perform tide._emit(
      array_agg(e.run_id),
      array_agg(e.seq),
      'run.' || _finish_rest.status,
      array_agg(
        case _finish_rest.status
          when 'completed' then jsonb_build_object('attempt', e.attempt)
          when 'failed' then jsonb_build_object(
            'attempt', e.attempt,
            'failure_class', _finish_rest.failure_class,
            'error', _finish_rest.error
          )
          else jsonb_build_object('reason', _finish_rest.reason, 'actor', _finish_rest.actor)
        end
      )
    )
    from unnest(_finish_rest.ended) as e
    where not e.told;
  end if;
  if v_asking is not null then
    update tide.gates as g
    set
      status = 'canceled',
      actor = 'tide',
      resolved_at = tide._now()
    where g.run_id = any (v_asking)
      and g.resolved_at is null;
    perform tide._forget_tokens(v_asking);
  end if;
  if _finish_rest.status in ('cancelled', 'failed') then
    perform tide._begin_cascade(
      array(
        select e.run_id
        from unnest(_finish_rest.ended) as e
      ),
      case when _finish_rest.status = 'failed' then 'parent failed' else _finish_rest.reason end,
      _finish_rest.actor
    );
  end if;
  if v_children is not null then
    perform tide._children_ended(v_children, _finish_rest.status);
  end if;
  if v_followed is not null then
    perform tide._predecessors_ended(v_followed, _finish_rest.status);
  end if;
  if v_holding is not null then
    perform tide._hold_keys(v_holding);
  end if;
end;
$$;

comment on function tide._finish_rest is
  'What ending runs takes that plain ones need not: free slots, log what their rows do not tell, close '
  'gates, tell parents, children and runs that come after, keep dedupe keys taken.';
