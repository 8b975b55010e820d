create or replace function tide._use_reserved(
  run_id uuid,
  step text,
  holder_id uuid,
  unit text,
  amount numeric,
  ends boolean
)
returns numeric
language plpgsql
volatile
as $$
declare
  v_reserved numeric;
begin
  if step is null or (amount = 0 and not ends) then
    return 0;
  end if;
  delete from tide.reserved_amounts as r
  where r.run_id = _use_reserved.run_id
    and r.step = _use_reserved.step
    and r.holder_id = _use_reserved.holder_id
    and r.unit = _use_reserved.unit
    and (r.amount <= _use_reserved.amount or _use_reserved.ends)
  returning r.amount into v_reserved;
  if found then
    return v_reserved;
  end if;
  update tide.reserved_amounts as r
  set amount = r.amount - _use_reserved.amount
  where r.run_id = _use_reserved.run_id
    and r.step = _use_reserved.step
    and r.holder_id = _use_reserved.holder_id
    and r.unit = _use_reserved.unit;
  return case when found then amount else 0 end;
end;
$$;

comment on function tide._use_reserved is
  'Use up what a step has reserved, as far as it goes, and return how much that was; ends = all of it, '
  'though less was used.';
