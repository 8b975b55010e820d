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
  lease_id uuid default null,
  list_cost_usd numeric default null
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
  v_written tide.usage;
  v_run tide.runs;
  v_budgets tide.run_budget[];
begin
  v_usage.kind := record_usage.kind;
  v_usage.step := record_usage.step;
  v_usage.provider := record_usage.provider;
  v_usage.model := record_usage.model;
  v_usage.label := record_usage.label;
  v_usage.unit := record_usage.unit;
  v_usage.request_key := record_usage.request_key;
  v_usage.quantity := record_usage.quantity;
  v_usage.cost_usd := record_usage.cost_usd;
  v_usage.input_tokens := record_usage.input_tokens;
  v_usage.output_tokens := record_usage.output_tokens;
  v_usage.total_tokens := record_usage.total_tokens;
  v_usage.metadata := record_usage.metadata;
  v_usage := tide._valid_usage(v_usage, record_usage.list_cost_usd);
  if record_usage.lease_id is not null then
    v_run := tide._hold(record_usage.run_id, record_usage.lease_id);
  else
    perform tide._require_run(record_usage.run_id);
    v_run := tide._lock_run(record_usage.run_id, ended_too => true);
    perform tide._require_spender(v_run);
  end if;
  v_budgets := tide._lock_budgets(v_run, tide._budgets_to_charge(v_run));
  v_written := tide._write_usage(v_run, v_usage, renews => record_usage.lease_id is not null);
  if v_written.usage_id = v_usage.usage_id then
    perform tide._spend(v_run, v_usage.step, array[v_usage], ends => false, budgets => v_budgets);
  end if;
  return v_written;
end;
$$;

comment on function tide.record_usage is
  'Record what a run spent, also after it ended; total_tokens = input + output unless given, negative '
  'amounts are 22023, the same request_key counts once. With its lease_id '
  'a worker renews its lease. Without cost_usd it costs what set_price says, else list_cost_usd.';
