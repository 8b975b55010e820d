create or replace function tide._use_reserved(
  run_id uuid,
  step text,
  holder_id uuid,
  unit text,
  amount numeric,
  ends boolean
)
returns tide.reserved_amounts
language plpgsql
volatile
as $$
declare
  v_used tide.reserved_amounts;
begin
  v_used.amount := 0;
  if step is null or (amount = 0 and not ends) then
    return v_used;
  end if;
  delete from tide.reserved_amounts as r
  where r.run_id = _use_reserved.run_id
    and r.step = _use_reserved.step
    and r.holder_id = _use_reserved.holder_id
    and r.unit = _use_reserved.unit
    and (r.amount <= _use_reserved.amount or _use_reserved.ends)
  returning r.* into v_used;
  if found then
    return v_used;
  end if;
  v_used.amount := 0;
  if ends then
    return v_used;
  end if;
  update tide.reserved_amounts as r
  set amount = r.amount - _use_reserved.amount
  where r.run_id = _use_reserved.run_id
    and r.step = _use_reserved.step
    and r.holder_id = _use_reserved.holder_id
    and r.unit = _use_reserved.unit;
  if found then
    v_used.amount := _use_reserved.amount;
  end if;
  return v_used;
end;
$$;

comment on function tide._use_reserved is
  'Use up what a step has reserved, as far as it goes, and return that with amount, 0 = nothing; ends = '
  'all of it, though less was used.';
