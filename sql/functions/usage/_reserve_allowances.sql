-- What the step has reserved before, in an attempt that was lost, counts.
create or replace function tide._reserve_allowances(
  run_id uuid,
  step text,
  estimate jsonb,
  allowances tide.allowances[]
)
returns tide.budget_waits
language plpgsql
volatile
as $$
declare
  v_allowance tide.allowances;
  v_asked numeric;
  v_missing numeric;
  v_began_at timestamptz;
  v_reserved tide.reserved_amounts[];
  v_taken tide.reserved_amounts[] := array[]::tide.reserved_amounts[];
  v_wait tide.budget_waits;
begin
  if cardinality(allowances) = 0 then
    return null;
  end if;
  v_reserved := array(
    select r
    from tide.reserved_amounts as r
    where r.run_id = _reserve_allowances.run_id
      and r.step = _reserve_allowances.step
      and r.began_at is not null
  );
  foreach v_allowance in array allowances loop
    v_asked := coalesce((estimate ->> v_allowance.unit)::numeric, v_allowance.estimate);
    v_missing := v_asked;
    if cardinality(v_reserved) > 0 then
      v_missing := v_missing - coalesce(
        (
          select r.amount
          from unnest(v_reserved) as r
          where r.holder_id = v_allowance.allowance_id
            and r.unit = v_allowance.unit
        ),
        0
      );
    end if;
    continue when v_missing <= 0;
    v_began_at := tide._take(v_allowance, v_missing);
    if v_began_at is null then
      perform tide._give(t.holder_id, t.amount, t.began_at, waits => false)
      from unnest(v_taken) as t;
      v_wait.run_id := _reserve_allowances.run_id;
      v_wait.holder_id := v_allowance.allowance_id;
      v_wait.unit := v_allowance.unit;
      v_wait.amount := v_missing;
      v_wait.due_at := tide._window_end(
        v_allowance.per,
        v_allowance.time_zone,
        tide._window_start(v_allowance.per, v_allowance.time_zone, tide._now())
      );
      return v_wait;
    end if;
    v_taken := v_taken || (
      run_id, step, v_allowance.allowance_id, v_allowance.unit, v_missing, v_began_at
    )::tide.reserved_amounts;
  end loop;
  if cardinality(v_taken) > 0 then
    insert into tide.reserved_amounts as r
    select t.*
    from unnest(v_taken) as t
    on conflict on constraint reserved_amounts_pkey do update
    set
      amount = r.amount + excluded.amount,
      began_at = excluded.began_at;
  end if;
  return null;
end;
$$;

comment on function tide._reserve_allowances is
  'Reserve what a step is expected to use in all of some allowances, or in none and say what is short; '
  'null = it is reserved.';
