-- Nearest first, the order of _spend. Whoever holds these rows is the only one to judge and to spend:
-- of children that begin at once, one takes the last step of a common budget.
create or replace function tide._lock_spending(run tide.runs)
returns void
language plpgsql
volatile
as $$
declare
  v_run_id uuid;
begin
  if not tide._is_budgeted(run) then
    return;
  end if;
  for v_run_id in
    select b.run_id
    from tide._limits(_lock_spending.run) as b
  loop
    perform tide._count_spending(v_run_id);
    perform
    from tide.spending as s
    where s.run_id = v_run_id
    for no key update;
  end loop;
end;
$$;

comment on function tide._lock_spending is
  'Lock what a run and its ancestors with a budget have spent, counted first where it never was.';
