-- From a random place on, so that each has its turn where there are many.
create or replace function tide._wake_budgets(batch integer)
returns integer
language plpgsql
volatile
as $$
declare
  v_holders uuid[];
begin
  if not exists (
    select
    from tide.budget_waits as w
  ) then
    return 0;
  end if;
  v_holders := array(
    select w.holder_id
    from tide.budget_waits as w
    where w.due_at <= tide._now()
    order by w.due_at
    limit _wake_budgets.batch
  ) || array(
    select f.holder_id
    from (
      select w.holder_id
      from tide.budget_waits as w
      where w.holder_id >= gen_random_uuid()
      order by w.holder_id
      limit _wake_budgets.batch
    ) as f
    union
    select f.holder_id
    from (
      select w.holder_id
      from tide.budget_waits as w
      order by w.holder_id
      limit _wake_budgets.batch
    ) as f
  );
  perform tide._wake_waiting(h.holder_id)
  from (
    select distinct u.holder_id
    from unnest(v_holders) as u(holder_id)
    order by u.holder_id
  ) as h;
  return 0;
end;
$$;

comment on function tide._wake_budgets is
  'Wake runs that wait although enough is left: those whose window has ended, and those who gave back or '
  'began beside them have not seen.';
