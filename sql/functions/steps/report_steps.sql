-- Everything that can be judged by looking at rows is done in a few statements for all reports. The
-- rest is left to begin_step and complete_step in transactions of their own: they lock rows of
-- other runs, and with so many runs locked already two callers could wait for each other.
-- The runs are locked each by a query of its own: however the planner joins, it could read all runs.
-- Those another transaction holds are passed over. The reports are judged in a later statement, whose
-- snapshot sees what whoever held the locks before has written.
create or replace function tide.report_steps(reports jsonb)
returns table (ordinal integer, action text, output jsonb, attempt integer, replay text)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_count constant integer := tide._valid_elements(
    'reports',
    report_steps.reports,
    array[
      'run_id', 'lease_id', 'name', 'begin', 'input', 'contract', 'age', 'complete', 'output', 'used',
      'estimate'
    ],
    1000
  );
  v_plain constant tide.steps := tide._parse_contract(null);
  v_no_input constant bytea := tide._input_hash(null);
  v_held uuid[];
  v_missed uuid[];
  v_busy uuid[];
  v_now timestamptz;
  v_started uuid[];
  v_started_seqs integer[];
  v_started_payloads jsonb[];
  v_completed uuid[];
  v_completed_seqs integer[];
  v_completed_payloads jsonb[];
  v_using uuid[];
  v_using_names text[];
  v_used jsonb[];
  v_laned uuid[];
  v_laned_names text[];
  v_renewed uuid[];
  v_last_seqs integer[];
  v_ordinals integer[];
  v_actions text[];
  v_outputs jsonb[];
  v_attempts integer[];
  v_replays text[];
  v_run tide.runs;
begin
  perform tide._require_read_committed('report_steps');
  if v_count = 0 then
    return;
  end if;
  -- Who names a step twice has it judged by itself.
  select
    array_agg(b.run_id) filter (where h.run_id is not null),
    array_agg(b.run_id) filter (where h.run_id is null)
  into v_held, v_missed
  from (
    select
      x.run_id,
      x.lease_id
    from jsonb_to_recordset(report_steps.reports) as x(run_id uuid, lease_id uuid, name text)
    group by x.run_id, x.lease_id
    having count(*) = count(distinct x.name)
  ) as b
  left join lateral (
    select r.run_id
    from tide.runs_active as r
    where r.run_id = b.run_id
      and r.lease_id = b.lease_id
      and r.leased_until is not null
    for no key update skip locked
  ) as h on true;
  if v_missed is not null then
    -- Whose lease is right was missed only because another transaction holds the row.
    v_busy := array(
      select m.run_id
      from unnest(v_missed) as m(run_id)
      where exists (
        select
        from jsonb_to_recordset(report_steps.reports) as x(run_id uuid, lease_id uuid)
        join tide.runs_active as r on r.run_id = x.run_id and r.lease_id = x.lease_id
        where x.run_id = m.run_id
          and r.leased_until is not null
      )
    );
  end if;
  v_now := tide._now();

  with judged as materialized (
    select
      x.ordinality::integer as ordinal,
      x.run_id,
      x.name,
      x.age,
      x.output,
      x.used,
      r.lease_id,
      r.started_at,
      r.lane is not null as laned,
      g.contract,
      g.input_hash,
      v.action,
      w.starts,
      w.ends,
      v.action in ('single', 'busy', 'replay') or not coalesce(x.complete, false) as answered,
      case when v.action = 'replay' then s.output end as kept,
      coalesce(s.attempt, 1) as attempt,
      coalesce(s.replay, (g.contract).replay) as replay,
      r.last_seq + (count(*) filter (where w.starts) over earlier)::integer as started_seq,
      r.last_seq + (
        count(*) filter (where w.starts) over (partition by x.run_id)
        + count(*) filter (where w.ends) over earlier
      )::integer as completed_seq
    from rows from (
      jsonb_to_recordset(report_steps.reports) as (
        run_id uuid,
        lease_id uuid,
        name text,
        begin boolean,
        input jsonb,
        contract jsonb,
        age double precision,
        complete boolean,
        output jsonb,
        used jsonb,
        estimate jsonb
      )
    ) with ordinality as x(
      run_id, lease_id, name, begin, input, contract, age, complete, output, used, estimate,
      ordinality
    )
    left join tide.runs_active as r
      on r.run_id = x.run_id
      and r.lease_id = x.lease_id
      and r.run_id = any (v_held)
    -- An offset keeps a subquery what it is. This one looks each step up by its key, whatever the
    -- planner knows of the table; the next two are evaluated once, however often they are named.
    left join lateral (
      select
        c.run_id,
        c.lease_id,
        c.status,
        c.input_hash,
        c.output,
        c.attempt,
        c.replay
      from tide.steps as c
      where c.run_id = x.run_id
        and c.name = x.name
      offset 0
    ) as s on true
    cross join lateral (
      select
        case when x.input is null then v_no_input else tide._input_hash(x.input) end as input_hash,
        case
          when x.contract is null then v_plain
          else tide._parse_contract(x.contract)
        end as contract
      offset 0
    ) as g
    cross join lateral (
      select tide._step_decision(s.status, s.replay, s.lease_id = r.lease_id) as decision
    ) as d
    cross join lateral (
      select
        case
          when x.run_id = any (v_busy) then 'busy'
          when r.run_id is null
            or not (coalesce(x.begin, false) or coalesce(x.complete, false))
            or (x.output is not null and tide._payload_problem(x.output) is not null)
            or (x.used is not null and not tide._is_usable(x.used))
            or (
              (x.used is not null or coalesce(x.complete, false))
              and (
                r.budget is not null
                or (r.parent_id is not null and cardinality(tide._budgets(r)) > 0)
              )
            )
          then 'single'
          when x.begin
            and (
              r.deadline_at <= v_now
              or coalesce(octet_length(x.name), 0) not between 1 and 256
              or x.name ~ '[[:cntrl:]]'
              or (x.input is not null and tide._payload_problem(x.input) is not null)
              or (
                x.estimate is not null
                and (
                  jsonb_typeof(x.estimate) <> 'object'
                  or jsonb_path_exists(
                    x.estimate,
                    'strict $.* ? (@.type() != "number" || @ <= 0 || @ > 1000000000000000)'
                  )
                )
              )
            )
          then 'single'
          when s.run_id is null then
            case
              when not coalesce(x.begin, false)
                or r.budget is not null
                or (r.parent_id is not null and cardinality(tide._budgets(r)) > 0)
              then 'single'
              else 'execute'
            end
          when x.begin and s.input_hash <> g.input_hash then 'single'
          when d.decision = 'replay' and not coalesce(x.complete, false) then 'replay'
          when s.lease_id is distinct from r.lease_id then 'single'
          when d.decision = 'again' then 'execute'
          when d.decision = 'replay' then 'kept'
          else 'single'
        end as action
      offset 0
    ) as v
    cross join lateral (
      select
        v.action = 'execute' and s.run_id is null as starts,
        v.action = 'execute' and coalesce(x.complete, false) as ends
    ) as w
    window earlier as (partition by x.run_id order by x.ordinality)
  ), written as (
    insert into tide.steps as s (
      run_id, name, status, replay, side_effects, idempotency_key, checkpoint_invariant,
      verified_by, timeout, input_hash, lease_id, started_at, finished_at, output, position
    )
    select
      n.run_id,
      n.name,
      case when n.ends then 'completed' else 'running' end,
      (n.contract).replay,
      (n.contract).side_effects,
      (n.contract).idempotency_key,
      (n.contract).checkpoint_invariant,
      (n.contract).verified_by,
      (n.contract).timeout,
      n.input_hash,
      n.lease_id,
      greatest(v_now - least(greatest(n.age, 0), 86400) * interval '1 second', n.started_at),
      case when n.ends then v_now end,
      case when n.ends then n.output end,
      n.started_seq
    from judged as n
    where n.starts
      or n.ends
    on conflict on constraint steps_pkey do update
    set
      status = excluded.status,
      output = excluded.output,
      error = null,
      finished_at = excluded.finished_at
  )
  select
    array_agg(n.run_id) filter (where n.starts),
    array_agg(n.started_seq) filter (where n.starts),
    array_agg(
      jsonb_build_object('name', n.name, 'attempt', n.attempt)
    ) filter (where n.starts),
    array_agg(n.run_id) filter (where n.ends),
    array_agg(n.completed_seq) filter (where n.ends),
    array_agg(
      jsonb_build_object('name', n.name, 'attempt', n.attempt)
    ) filter (where n.ends),
    array_agg(n.run_id) filter (where n.ends and n.used is not null),
    array_agg(n.name) filter (where n.ends and n.used is not null),
    array_agg(n.used) filter (where n.ends and n.used is not null),
    array_agg(n.run_id) filter (where n.ends and n.laned),
    array_agg(n.name) filter (where n.ends and n.laned),
    array_agg(n.ordinal) filter (where n.answered),
    array_agg(n.action) filter (where n.answered),
    array_agg(n.kept) filter (where n.answered),
    array_agg(n.attempt) filter (where n.answered),
    array_agg(n.replay) filter (where n.answered)
  into
    v_started, v_started_seqs, v_started_payloads,
    v_completed, v_completed_seqs, v_completed_payloads,
    v_using, v_using_names, v_used, v_laned, v_laned_names,
    v_ordinals, v_actions, v_outputs, v_attempts, v_replays
  from judged as n;

  select
    array_agg(n.run_id),
    array_agg(n.last_seq)
  into v_renewed, v_last_seqs
  from (
    select
      m.run_id,
      max(m.seq) as last_seq
    from unnest(v_started || v_completed, v_started_seqs || v_completed_seqs) as m(run_id, seq)
    group by m.run_id
  ) as n;
  if v_renewed is not null then
    update tide.runs_active as r
    set
      last_seq = v_last_seqs[array_position(v_renewed, r.run_id)],
      leased_until = v_now + r.lease
    where r.run_id = any (v_renewed);
  end if;
  -- In this order: of one run the seqs of what began are below those of what is complete.
  if v_started is not null then
    perform tide._emit(v_started, v_started_seqs, 'step.started', v_started_payloads);
  end if;
  if v_completed is not null then
    perform tide._emit(v_completed, v_completed_seqs, 'step.completed', v_completed_payloads);
  end if;
  if v_using is not null then
    for v_place in 1 .. cardinality(v_using) loop
      v_run := (
        select r::tide.runs
        from tide.runs_active as r
        where r.run_id = v_using[v_place]
      );
      perform tide._write_used(
        v_run,
        v_using_names[v_place],
        tide._parse_used(v_used[v_place], v_using_names[v_place])
      );
    end loop;
  end if;
  if v_laned is not null then
    perform tide._end_step_lanes(r, n.name)
    from unnest(v_laned, v_laned_names) as n(run_id, name)
    join tide.runs_active as r on r.run_id = n.run_id
    where exists (
      select
      from tide.run_lanes as o
      where o.run_id = n.run_id
        and o.step = n.name
    );
  end if;
  if v_ordinals is not null then
    return query
    select
      a.ordinal,
      a.action,
      a.output,
      a.attempt,
      a.replay
    from unnest(v_ordinals, v_actions, v_outputs, v_attempts, v_replays)
      as a(ordinal, action, output, attempt, replay)
    order by a.ordinal;
  end if;
end;
$$;

comment on function tide.report_steps is
  'Begin and complete steps of many leased runs in one transaction, each judged alone. A begin has '
  'a row: execute, or replay with the stored output. A row that says single: nothing was done, '
  'make this report with begin_step or complete_step. busy: nothing was done since another '
  'transaction holds the row of the run, make it again. A completion without a row is stored, and '
  'with it what the step used.';
