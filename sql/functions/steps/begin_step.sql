-- A step that runs under another lease than ours was begun by a worker that is gone: whether its
-- effect happened is unknown, and the contract decides. Under our own lease the caller is only
-- asking again.
create or replace function tide.begin_step(
  run_id uuid,
  lease_id uuid,
  name text,
  input jsonb default null,
  contract jsonb default '{}',
  approved_by uuid default null,
  estimate jsonb default null,
  lane text default null,
  lane_key text default null,
  cost numeric default null
)
returns table (action text, output jsonb, attempt integer, replay text)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_name constant text := tide._valid_text('name', begin_step.name, 256);
  v_hash constant bytea := tide._input_hash(tide._valid_payload('input', begin_step.input));
  v_contract constant tide.steps := tide._parse_contract(
    begin_step.contract, approved => begin_step.approved_by is not null
  );
  v_estimate constant jsonb := tide._valid_estimate('estimate', begin_step.estimate);
  v_run constant tide.runs := tide._hold(begin_step.run_id, begin_step.lease_id);
  v_now constant timestamptz := tide._now();
  v_step tide.steps;
  v_lacks text;
begin
  perform tide._refuse_overdue(v_run);
  v_step := (
    select s
    from tide.steps as s
    where s.run_id = v_run.run_id
      and s.name = v_name
  );
  if v_step.name is null then
    v_lacks := tide._reserve_step(
      v_run, v_name, begin_step.lane, begin_step.lane_key, begin_step.cost, v_estimate
    );
    if v_lacks is not null then
      return query select v_lacks, null::jsonb, 0, v_contract.replay;
      return;
    end if;
    if begin_step.approved_by is not null then
      perform tide._consume_approval(v_run, v_name, begin_step.input, begin_step.approved_by);
    end if;
    insert into tide.steps as s (
      run_id, name, status, replay, side_effects, idempotency_key, checkpoint_invariant,
      verified_by, timeout, input_hash, lease_id, started_at, position, approved_by
    )
    values (
      v_run.run_id,
      v_name,
      'running',
      v_contract.replay,
      v_contract.side_effects,
      v_contract.idempotency_key,
      v_contract.checkpoint_invariant,
      v_contract.verified_by,
      v_contract.timeout,
      v_hash,
      v_run.lease_id,
      v_now,
      v_run.last_seq + 1,
      begin_step.approved_by
    );
    perform tide._log(
      v_run.run_id,
      'step.started',
      jsonb_build_object('name', v_name, 'attempt', 1)
        || tide._said('approved_by', begin_step.approved_by::text)
    );
    return query select 'execute', null::jsonb, 1, v_contract.replay;
    return;
  end if;

  if v_step.input_hash <> v_hash then
    raise exception 'step % of run % was begun with another input',
        quote_literal(v_name), v_run.run_id
      using errcode = 'TD020',
            detail = format(
              'Its input hash is %s, this one is %s.',
              encode(v_step.input_hash, 'hex'),
              encode(v_hash, 'hex')
            ),
            hint = 'Give a step that does something else another name.';
  end if;

  case tide._step_decision(
    v_step.status, v_step.replay, v_step.lease_id is not distinct from v_run.lease_id
  )
    when 'replay' then
      return query select 'replay', v_step.output, v_step.attempt, v_step.replay;
    when 'again' then
      return query select 'execute', null::jsonb, v_step.attempt, v_step.replay;
    when 'execute' then
      v_lacks := tide._reserve_step(
        v_run, v_name, begin_step.lane, begin_step.lane_key, begin_step.cost, v_estimate
      );
      if v_lacks is not null then
        return query select v_lacks, null::jsonb, v_step.attempt, v_step.replay;
        return;
      end if;
      v_step.approved_by := coalesce(begin_step.approved_by, v_step.approved_by);
      if v_step.approved_by is not null then
        perform tide._consume_approval(v_run, v_name, begin_step.input, v_step.approved_by);
      end if;
      update tide.steps as s
      set
        status = 'running',
        attempt = s.attempt + 1,
        lease_id = v_run.lease_id,
        started_at = v_now,
        finished_at = null,
        error = null,
        approved_by = v_step.approved_by
      where s.run_id = v_run.run_id
        and s.name = v_name
      returning s.* into v_step;
      perform tide._log(
        v_run.run_id,
        'step.started',
        jsonb_build_object('name', v_name, 'attempt', v_step.attempt)
          || tide._said('approved_by', v_step.approved_by::text)
      );
      return query select 'execute', null::jsonb, v_step.attempt, v_step.replay;
    when 'review' then
      perform tide._review_step(v_run, v_step);
      return query select 'review', null::jsonb, v_step.attempt, v_step.replay;
    else
      perform tide._fail_hard(v_run, v_step);
      return query select 'failed', null::jsonb, v_step.attempt, v_step.replay;
  end case;
end;
$$;

comment on function tide.begin_step is
  'Ask for a step of a leased run: replay (its stored output), execute, review or budget (the run is '
  'parked until an operator decides), lane (it is parked until the step has a place there), wait (the '
  'same, but other steps are under way: nothing was done, ask again), failed (its contract forbids '
  'another try, the run has failed). approved_by uses up the approval of a gate whose data is the input; '
  'not covered by it: TD025. estimate, such as {"usd": 0.1}, is reserved in the budgets and allowances of '
  'the run until the step ends. lane, lane_key and cost are as of enqueue: the step holds its place there '
  'until it ends.';
