create or replace function tide._asked(wait tide.budget_waits)
returns jsonb
language plpgsql
immutable
parallel safe
as $$
begin
  return case
    when wait.unit in ('usd', 'tokens') and wait.amount > 0
      then jsonb_build_object(wait.unit, wait.amount)
    else '{}'
  end;
end;
$$;

comment on function tide._asked is 'What a parked run asked for, as an estimate.';
