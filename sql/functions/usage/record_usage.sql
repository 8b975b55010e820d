create or replace function tide.record_usage(
  run_id uuid,
  kind text default 'custom',
  step text default null,
  provider text default null,
  model text default null,
  label text default null,
  quantity numeric default null,
  unit text default null,
  input_tokens bigint default null,
  output_tokens bigint default null,
  total_tokens bigint default null,
  cost_usd numeric default null,
  metadata jsonb default '{}',
  request_key text default null,
  lease_id uuid default null
)
returns tide.usage
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_usage tide.usage;
  v_run tide.runs;
begin
  v_usage.usage_id := tide._uuid7();
  v_usage.created_at := tide._now();
  v_usage.kind := tide._valid_text('kind', record_usage.kind, 128);
  v_usage.step := tide._optional_text('step', record_usage.step, 256);
  v_usage.provider := tide._optional_text('provider', record_usage.provider, 128);
  v_usage.model := tide._optional_text('model', record_usage.model, 256);
  v_usage.label := tide._optional_text('label', record_usage.label, 256);
  v_usage.unit := tide._optional_text('unit', record_usage.unit, 128);
  v_usage.request_key := tide._optional_text('request_key', record_usage.request_key, 512);
  v_usage.quantity := tide._valid_amount('quantity', record_usage.quantity);
  v_usage.cost_usd := tide._valid_amount('cost_usd', record_usage.cost_usd);
  v_usage.input_tokens := tide._valid_amount('input_tokens', record_usage.input_tokens);
  v_usage.output_tokens := tide._valid_amount('output_tokens', record_usage.output_tokens);
  v_usage.total_tokens := coalesce(
    tide._valid_amount('total_tokens', record_usage.total_tokens),
    v_usage.input_tokens + v_usage.output_tokens,
    v_usage.input_tokens,
    v_usage.output_tokens
  );
  v_usage.metadata := coalesce(tide._valid_payload('metadata', record_usage.metadata), '{}');
  if record_usage.lease_id is not null then
    v_run := tide._hold(record_usage.run_id, record_usage.lease_id);
  else
    perform tide._require_run(record_usage.run_id);
    v_run := tide._lock_run(record_usage.run_id, ended_too => true);
  end if;
  v_usage.run_id := v_run.run_id;
  perform tide._lock_spending(v_run);

  insert into tide.usage (
    run_id, usage_id, request_key, kind, step, provider, model, label, quantity, unit,
    input_tokens, output_tokens, total_tokens, cost_usd, metadata, created_at
  )
  values (
    v_usage.run_id,
    v_usage.usage_id,
    v_usage.request_key,
    v_usage.kind,
    v_usage.step,
    v_usage.provider,
    v_usage.model,
    v_usage.label,
    v_usage.quantity,
    v_usage.unit,
    v_usage.input_tokens,
    v_usage.output_tokens,
    v_usage.total_tokens,
    v_usage.cost_usd,
    v_usage.metadata,
    v_usage.created_at
  )
  on conflict do nothing;
  if not found then
    select u.*
    into v_usage
    from tide.usage as u
    where u.run_id = v_run.run_id
      and u.request_key = record_usage.request_key;
    return v_usage;
  end if;
  perform tide._charge(
    v_run, coalesce(v_usage.cost_usd, 0), coalesce(v_usage.total_tokens, 0), 0
  );
  perform tide._log(
    v_run.run_id,
    'usage.recorded',
    to_jsonb(v_usage) - 'run_id',
    renews => record_usage.lease_id is not null
  );
  return v_usage;
end;
$$;

comment on function tide.record_usage is
  'Record what a run spent, also after it ended; total_tokens = input + output unless given, negative '
  'amounts are 22023, the same request_key counts once. With its lease_id '
  'a worker renews its lease.';
