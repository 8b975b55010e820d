create or replace function tide._valid_usage(usage tide.usage, list_cost_usd numeric)
returns tide.usage
language plpgsql
volatile
as $$
declare
  v_usage tide.usage := usage;
begin
  v_usage.usage_id := tide._uuid7();
  v_usage.created_at := tide._now();
  v_usage.kind := tide._valid_text('kind', usage.kind, 128);
  v_usage.step := tide._optional_text('step', usage.step, 256);
  v_usage.provider := tide._optional_text('provider', usage.provider, 128);
  v_usage.model := tide._optional_text('model', usage.model, 256);
  v_usage.label := tide._optional_text('label', usage.label, 256);
  v_usage.unit := tide._optional_text('unit', usage.unit, 128);
  v_usage.request_key := tide._optional_text('request_key', usage.request_key, 512);
  v_usage.quantity := tide._valid_amount('quantity', usage.quantity);
  v_usage.input_tokens := tide._valid_amount('input_tokens', usage.input_tokens);
  v_usage.output_tokens := tide._valid_amount('output_tokens', usage.output_tokens);
  v_usage.total_tokens := coalesce(
    tide._valid_amount('total_tokens', usage.total_tokens),
    usage.input_tokens + usage.output_tokens,
    usage.input_tokens,
    usage.output_tokens
  );
  v_usage.cost_usd := coalesce(
    tide._valid_amount('cost_usd', usage.cost_usd),
    tide._price(v_usage),
    tide._valid_amount('list_cost_usd', _valid_usage.list_cost_usd)
  );
  v_usage.metadata := coalesce(tide._valid_payload('metadata', usage.metadata), '{}');
  return v_usage;
end;
$$;

comment on function tide._valid_usage is
  'A record of usage as it is stored, with its id, time, total and price; or 22023 naming what is wrong.';
