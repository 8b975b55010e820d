create or replace function tide.gate_tokens(gate_ids uuid[])
returns table (gate_id uuid, token text)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_closed constant text[] := tide._closed_queues();
begin
  if gate_tokens.gate_ids is null or cardinality(gate_tokens.gate_ids) > 1000 then
    raise exception 'gate_ids is not a list of at most 1000 ids: %',
        coalesce(cardinality(gate_tokens.gate_ids)::text, 'null')
      using errcode = '22023',
            hint = 'Ask for fewer gates at a time.';
  end if;
  return query
  select
    g.gate_id,
    tide._gate_token(g.gate_id)
  from tide.gates as g
  join tide.runs_active as r on r.run_id = g.run_id
  where g.gate_id = any (gate_tokens.gate_ids)
    and g.resolved_at is null
    and (r.queue is null or r.queue <> all (v_closed));
end;
$$;

comment on function tide.gate_tokens is
  'Tokens that resolve_gate takes for these gates, as far as they are pending; for who may decide them.';
