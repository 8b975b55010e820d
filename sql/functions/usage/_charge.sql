-- Nearest first: a child is charged before its parent, in every transaction.
create or replace function tide._charge(
  run tide.runs,
  cost_usd numeric,
  tokens bigint,
  steps bigint
)
returns void
language plpgsql
volatile
as $$
declare
  v_run_id uuid;
begin
  for v_run_id in
    select b.run_id
    from tide._budgets(_charge.run) as b
  loop
    insert into tide.spending as s (run_id, cost_usd, tokens, steps)
    values (v_run_id, _charge.cost_usd, _charge.tokens, _charge.steps)
    on conflict on constraint spending_pkey do update
    set
      cost_usd = s.cost_usd + excluded.cost_usd,
      tokens = s.tokens + excluded.tokens,
      steps = s.steps + excluded.steps;
  end loop;
end;
$$;

comment on function tide._charge is 'Add to what a run and its ancestors with a budget have spent.';
