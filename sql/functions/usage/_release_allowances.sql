create or replace function tide._release_allowances(
  run_ids uuid[],
  step text default null,
  waits boolean default true
)
returns uuid[]
language plpgsql
volatile
as $$
declare
  v_given record;
  v_holders uuid[] := array[]::uuid[];
begin
  for v_given in
    select
      r.holder_id,
      r.unit,
      r.began_at,
      sum(r.amount) as amount
    from tide.reserved_amounts as r
    left join tide.allowances as a on a.allowance_id = r.holder_id
    where r.run_id = any (_release_allowances.run_ids)
      and r.began_at is not null
      and (_release_allowances.step is null or r.step = _release_allowances.step)
    group by
      a.scope,
      a.per,
      r.holder_id,
      r.unit,
      r.began_at
    order by
      a.scope,
      r.unit,
      a.per,
      r.began_at
  loop
    continue when not tide._give(
      v_given.holder_id, v_given.amount, v_given.began_at, _release_allowances.waits
    );
    delete from tide.reserved_amounts as r
    where r.run_id = any (_release_allowances.run_ids)
      and r.holder_id = v_given.holder_id
      and r.unit = v_given.unit
      and r.began_at = v_given.began_at
      and (_release_allowances.step is null or r.step = _release_allowances.step);
    v_holders := v_holders || v_given.holder_id;
  end loop;
  return v_holders;
end;
$$;

comment on function tide._release_allowances is
  'Give back what steps of runs, locked by the caller, have reserved in allowances; returns which. waits '
  'false = as far as nobody has them locked.';
