create or replace function tide._explain_shortage(wait tide.budget_waits)
returns jsonb
language plpgsql
stable
as $$
begin
  return coalesce(
    (
      select jsonb_build_object(
        'scope', a.scope,
        'unit', a.unit,
        'per', a.per,
        'amount', a.amount,
        'left', greatest(l.left_over, 0),
        'asked', _explain_shortage.wait.amount,
        'resets_at', _explain_shortage.wait.due_at
      )
      from tide.allowances as a
      cross join lateral (
        select tide._allowance_left(a) as left_over
      ) as l
      where a.allowance_id = _explain_shortage.wait.holder_id
    ),
    '{}'
  );
end;
$$;

comment on function tide._explain_shortage is
  'The allowance of which too little is left for a parked run: what is left and what it asked for.';
