create or replace function tide._copy_decisions(
  run_id uuid,
  fork_id uuid,
  before timestamptz
)
returns void
language plpgsql
volatile
as $$
declare
  v_requester constant text := (
    select r.requested_by
    from tide.runs_active as r
    where r.run_id = _copy_decisions.fork_id
  );
  v_edge text;
begin
  -- Retention passes over children whose row is held, and then finds the edges of the fork.
  perform
  from tide.runs_finished as r
  where r.run_id = any (
    array(
      select e.child_id
      from tide.run_edges as e
      where e.parent_id = _copy_decisions.run_id
        and e.created_at < _copy_decisions.before
    )
  )
  for key share;
  select e.edge
  into v_edge
  from tide.run_edges as e
  where e.parent_id = _copy_decisions.run_id
    and e.created_at < _copy_decisions.before
    and not exists (
      select
      from tide.runs as r
      where r.run_id = e.child_id
    )
  order by e.edge
  limit 1;
  if found then
    raise exception 'run % cannot be forked: retention has removed its child %',
        _copy_decisions.run_id, quote_literal(v_edge)
      using errcode = 'TD030',
            hint = 'Fork it at a step before that child was made.';
  end if;
  insert into tide.gates (
    run_id, name, gate_id, status, prompt, data, capability, expires_at, on_timeout, actor,
    payload, created_at, resolved_at, origin_id, used_by, used_step, answer_schema, quorum,
    assignees, not_requester, escalate_at, escalate_to, escalated_at
  )
  select
    _copy_decisions.fork_id,
    g.name,
    tide._uuid7(),
    g.status,
    g.prompt,
    g.data,
    g.capability,
    g.expires_at,
    g.on_timeout,
    g.actor,
    g.payload,
    g.created_at,
    g.resolved_at,
    coalesce(g.origin_id, g.gate_id),
    g.used_by,
    g.used_step,
    g.answer_schema,
    g.quorum,
    g.assignees,
    g.not_requester,
    g.escalate_at,
    g.escalate_to,
    g.escalated_at
  from tide.gates as g
  left join tide.gates as o on o.gate_id = g.origin_id
  where g.run_id = _copy_decisions.run_id
    and g.status <> 'pending'
    and g.resolved_at < _copy_decisions.before
    -- What a step of the original has used up is asked again, unless that step replays; and so is
    -- what the requester of the fork has decided, where requesters do not decide.
    and case
      when coalesce(o.used_step, g.used_step) is not null then exists (
        select
        from tide.steps as s
        where s.run_id = _copy_decisions.fork_id
          and s.name = coalesce(o.used_step, g.used_step)
      )
      when g.not_requester then
        v_requester not in (g.actor, 'key ' || g.actor)
        and not exists (
          select
          from tide.gate_votes as v
          where v.run_id = coalesce(o.run_id, g.run_id)
            and v.gate_id = coalesce(o.gate_id, g.gate_id)
            and v_requester in (v.actor, 'key ' || v.actor, v.login)
          -- Else all votes there are may be hashed first.
          offset 0
        )
      else true
    end;
  insert into tide.waits (
    run_id, kind, name, status, due_at, payload, created_at, ended_at, event
  )
  select
    _copy_decisions.fork_id,
    w.kind,
    w.name,
    w.status,
    w.due_at,
    w.payload,
    w.created_at,
    w.ended_at,
    w.event
  from tide.waits as w
  where w.run_id = _copy_decisions.run_id
    and w.ended_at < _copy_decisions.before;
  insert into tide.run_edges (
    parent_id, edge, child_id, edge_type, detached, child_status, metadata, created_at
  )
  select
    _copy_decisions.fork_id,
    e.edge,
    e.child_id,
    e.edge_type,
    -- The children are the original's: cancelling the fork must not reach them.
    true,
    e.child_status,
    e.metadata,
    e.created_at
  from tide.run_edges as e
  where e.parent_id = _copy_decisions.run_id
    and e.created_at < _copy_decisions.before;
end;
$$;

comment on function tide._copy_decisions is
  'Give a fork the gates decided, waits ended and children made before a time, so that they replay.';
