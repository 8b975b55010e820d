-- What may be executed again is paid again, so nothing is held for the attempt that is gone. A step
-- whose contract asks an operator may have happened: its amount stays until he has decided.
create or replace function tide._release_lost(run tide.runs)
returns void
language plpgsql
volatile
as $$
begin
  if cardinality(tide._budgets_to_charge(run)) = 0 then
    return;
  end if;
  perform tide._release_reserved(array[_release_lost.run.run_id], l.step, waits => false)
  from (
    select distinct r.step
    from tide.reserved_amounts as r
    join tide.steps as s on s.run_id = r.run_id and s.name = r.step
    where r.run_id = _release_lost.run.run_id
      and s.status = 'running'
      and s.replay = 'auto'
    order by r.step
  ) as l;
end;
$$;

comment on function tide._release_lost is
  'Give back what steps have reserved that were under way in an attempt that is over and may be repeated.';
