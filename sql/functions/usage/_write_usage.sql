create or replace function tide._write_usage(run tide.runs, usage tide.usage, renews boolean)
returns tide.usage
language plpgsql
volatile
as $$
declare
  v_usage tide.usage;
begin
  insert into tide.usage as u (
    run_id, usage_id, request_key, kind, step, provider, model, label, quantity, unit,
    input_tokens, output_tokens, total_tokens, cost_usd, metadata, created_at
  )
  values (
    run.run_id,
    usage.usage_id,
    usage.request_key,
    usage.kind,
    usage.step,
    usage.provider,
    usage.model,
    usage.label,
    usage.quantity,
    usage.unit,
    usage.input_tokens,
    usage.output_tokens,
    usage.total_tokens,
    usage.cost_usd,
    usage.metadata,
    usage.created_at
  )
  on conflict do nothing
  returning u.* into v_usage;
  if not found then
    v_usage := (
      select u
      from tide.usage as u
      where u.run_id = run.run_id
        and u.request_key = usage.request_key
    );
    return v_usage;
  end if;
  if run.status = 'running' and run.lane is not null then
    perform tide._use_units(_write_usage.run, v_usage);
  end if;
  perform tide._log(
    run.run_id, 'usage.recorded', to_jsonb(v_usage) - 'run_id', renews => _write_usage.renews
  );
  return v_usage;
end;
$$;

comment on function tide._write_usage is
  'Store a valid record of usage of a run the caller has locked, and log it, for _spend to charge it; the '
  'record there is, with another id, when its request key was counted before.';
