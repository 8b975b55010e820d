create or replace function tide.open_gate(
  run_id uuid,
  lease_id uuid,
  name text,
  prompt text,
  data jsonb default '{}',
  timeout interval default null,
  on_timeout text default 'rejected',
  capability text default null,
  channels jsonb default '[]',
  rules jsonb default '{}',
  on_change text default 'refuse'
)
returns table (gate_id uuid, status text, payload jsonb, actor text, token text)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_name constant text := tide._valid_text('name', open_gate.name, 256);
  v_prompt constant text := tide._valid_prompt(open_gate.prompt);
  v_data constant jsonb := coalesce(tide._valid_payload('data', open_gate.data), '{}');
  v_on_timeout constant text := tide._valid_decision('on_timeout', open_gate.on_timeout);
  v_on_change constant text := tide._valid_choice(
    'on_change', open_gate.on_change, '{refuse,ask}'
  );
  v_now constant timestamptz := tide._now();
  v_rules constant tide.gates := tide._parse_rules(open_gate.rules, v_now);
  v_run constant tide.runs := tide._hold(open_gate.run_id, open_gate.lease_id);
  -- 244 random bits, shown once; what is stored cannot be turned back.
  v_token constant text := replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', '');
  v_gate tide.gates;
begin
  perform tide._require_read_committed('open_gate');
  v_gate := tide._find_asking(v_run.run_id, v_name, v_prompt, v_data, v_on_change);
  if v_gate.gate_id is not null then
    return query select v_gate.gate_id, v_gate.status, v_gate.payload, v_gate.actor, null::text;
    return;
  end if;
  if v_on_timeout = 'approved' then
    perform tide._valid_answer('the payload {} of on_timeout', '{}', v_rules.answer_schema);
  end if;
  perform tide._refuse_overdue(v_run);
  insert into tide.gates as g (
    run_id, name, gate_id, status, prompt, data, capability, token_hash, expires_at, on_timeout,
    created_at, answer_schema, quorum, assignees, not_requester, escalate_at, escalate_to
  )
  values (
    v_run.run_id,
    v_gate.name,
    tide._uuid7(),
    'pending',
    v_prompt,
    v_data,
    case
      when open_gate.capability is not null
        then tide._valid_text('capability', open_gate.capability, 4096)
    end,
    sha256(convert_to(v_token, 'UTF8')),
    v_now + tide._valid_timeout(open_gate.timeout),
    v_on_timeout,
    v_now,
    v_rules.answer_schema,
    v_rules.quorum,
    v_rules.assignees,
    v_rules.not_requester,
    v_rules.escalate_at,
    v_rules.escalate_to
  )
  returning g.* into v_gate;
  update tide.runs_active as r
  set open_gates = r.open_gates + 1
  where r.run_id = v_run.run_id;
  perform tide._add_channels(v_run.run_id, open_gate.channels, v_gate.gate_id);
  perform tide._add_channels(v_run.run_id, q.gate_channels, v_gate.gate_id, trusted => true)
  from tide.queues as q
  where q.queue = v_run.queue
    and q.gate_channels is not null;
  perform tide._log(
    v_run.run_id,
    'gate.created',
    jsonb_build_object(
      'gate_id', v_gate.gate_id,
      'name', v_gate.name,
      'prompt', v_gate.prompt,
      'capability', v_gate.capability,
      'expires_at', v_gate.expires_at
    )
  );
  -- Who enqueued the run named its channels: only those of the gate are sent the token.
  update tide.deliveries as d
  set token = v_token
  where d.run_id = v_run.run_id
    and d.gate_id = v_gate.gate_id
    and d.type = 'gate.created'
    and exists (
      select
      from tide.channels as c
      where c.run_id = d.run_id
        and c.gate_id = d.gate_id
        and c.url = d.url
        and c.secret_name = d.secret_name
    );
  return query select v_gate.gate_id, v_gate.status, v_gate.payload, v_gate.actor, v_token;
end;
$$;

comment on function tide.open_gate is
  'Ask people for a decision about a leased run; the same name and question again give the same gate. '
  'Another question under the name: TD020, or with on_change = ask another gate, name:2. The token '
  'that resolves it is in the first answer, and in what is sent to channels of the gate, only.';
