-- The row of a descendant is locked before that of its ancestor, as always.
create or replace function tide._release_budgets(run_ids uuid[], step text default null)
returns uuid[]
language plpgsql
volatile
as $$
declare
  v_gone record;
  v_holders uuid[] := array[]::uuid[];
begin
  for v_gone in
    with gone as (
      delete from tide.reserved_amounts as r
      where r.run_id = any (_release_budgets.run_ids)
        and r.began_at is null
        and (_release_budgets.step is null or r.step = _release_budgets.step)
      returning
        r.holder_id,
        r.unit,
        r.amount
    )
    select
      g.holder_id,
      coalesce(sum(g.amount) filter (where g.unit = 'usd'), 0) as usd,
      coalesce(sum(g.amount) filter (where g.unit = 'tokens'), 0) as tokens
    from gone as g
    group by g.holder_id
    order by
      (
        select count(*)
        from tide.runs as h
        cross join lateral tide._ancestors(h) as a
        where h.run_id = g.holder_id
      ) desc,
      g.holder_id
  loop
    update tide.spending as s
    set
      reserved_usd = greatest(s.reserved_usd - v_gone.usd, 0),
      reserved_tokens = greatest(s.reserved_tokens - v_gone.tokens, 0)
    where s.run_id = v_gone.holder_id;
    v_holders := v_holders || v_gone.holder_id;
  end loop;
  return v_holders;
end;
$$;

comment on function tide._release_budgets is
  'Give back what steps of runs, locked by the caller, have reserved in budgets; returns whose they are.';
