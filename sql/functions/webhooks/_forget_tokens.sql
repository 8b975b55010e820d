create or replace function tide._forget_tokens(run_ids uuid[], gate_id uuid default null)
returns void
language plpgsql
volatile
as $$
begin
  update tide.deliveries as d
  set token = null
  where d.run_id = any (_forget_tokens.run_ids)
    and d.token is not null
    and (_forget_tokens.gate_id is null or d.gate_id = _forget_tokens.gate_id);
end;
$$;

comment on function tide._forget_tokens is
  'Remove the tokens of decided gates from what is still to be sent.';
