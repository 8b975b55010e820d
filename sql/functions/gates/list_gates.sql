create or replace function tide.list_gates(
  after_gate uuid default null,
  max_gates integer default 50,
  only_run uuid default null
)
returns table (
  gate_id uuid,
  run_id uuid,
  workflow text,
  queue text,
  name text,
  prompt text,
  data jsonb,
  capability text,
  created_at timestamptz,
  expires_at timestamptz,
  on_timeout text,
  answer_schema jsonb,
  quorum integer,
  assignees text[],
  not_requester boolean,
  requested_by text,
  escalate_at timestamptz,
  escalate_to text[],
  votes jsonb
)
language plpgsql
stable
parallel safe
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
as $$
declare
  v_limit constant integer := tide._valid_integer('max_gates', list_gates.max_gates, 1, 1000);
  v_closed constant text[] := tide._closed_queues();
  v_after timestamptz;
begin
  select g.created_at
  into v_after
  from tide.gates as g
  where g.gate_id = list_gates.after_gate;
  return query
  select
    g.gate_id,
    g.run_id,
    r.workflow,
    r.queue,
    g.name,
    g.prompt,
    g.data,
    g.capability,
    g.created_at,
    g.expires_at,
    g.on_timeout,
    g.answer_schema,
    g.quorum,
    g.assignees,
    g.not_requester,
    r.requested_by,
    g.escalate_at,
    g.escalate_to,
    (
      select coalesce(
        jsonb_agg(
          to_jsonb(v) - '{run_id,gate_id,login}'::text[]
          order by v.created_at, v.actor
        ),
        '[]'
      )
      from tide.gate_votes as v
      where v.run_id = g.run_id
        and v.gate_id = g.gate_id
    )
  from tide.gates as g
  join tide.runs as r on r.run_id = g.run_id
  where g.status = 'pending'
    and (list_gates.only_run is null or g.run_id = list_gates.only_run)
    and g.created_at >= coalesce(v_after, '-infinity')
    and (v_after is null or (g.created_at, g.gate_id) > (v_after, list_gates.after_gate))
    and (r.queue is null or r.queue <> all (v_closed))
  order by
    g.created_at,
    g.gate_id
  limit v_limit;
end;
$$;

comment on function tide.list_gates is
  'Decisions people are asked for, oldest first, with rules and votes, without tokens; only_run = those '
  'of one run; after_gate = the last gate_id of the page before.';
