-- In the order in which they began to wait. A large amount holds up no smaller one. Who cannot be locked
-- now is woken by the sweep.
create or replace function tide._wake_waiting(holder_id uuid)
returns integer
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
  v_wait tide.budget_waits;
  v_run tide.runs;
  v_short jsonb;
  v_left jsonb := jsonb_build_object();
  v_woken integer := 0;
begin
  for v_wait in
    select w.*
    from tide.budget_waits as w
    where w.holder_id = _wake_waiting.holder_id
      and w.woken_at is null
    order by
      w.since,
      w.run_id
    limit 1000
  loop
    if not v_left ? v_wait.unit then
      v_left := v_left || jsonb_build_object(
        v_wait.unit,
        tide._budget_left(holder_id, v_wait.unit) - coalesce(
          (
            select sum(w.amount)
            from tide.budget_waits as w
            where w.holder_id = _wake_waiting.holder_id
              and w.unit = v_wait.unit
              and w.woken_at > v_now - interval '1 minute'
          ),
          0
        )
      );
    end if;
    exit when (v_left ->> v_wait.unit)::numeric <= 0;
    continue when v_wait.amount > (v_left ->> v_wait.unit)::numeric;
    v_run := (
      select r::tide.runs
      from tide.runs_active as r
      where r.run_id = v_wait.run_id
        and r.waiting_on = 'budget'
      for no key update skip locked
    );
    continue when v_run.run_id is null;
    v_short := tide._short_budget(
      tide._limits(tide._budgets(v_run)), tide._asked(v_wait)
    );
    if v_short is not null then
      -- Meanwhile it is short of something else.
      update tide.budget_waits as w
      set
        holder_id = (v_short ->> 'run_id')::uuid,
        unit = v_short ->> 'unit',
        amount = coalesce((v_short ->> 'asked')::numeric, 0),
        due_at = null
      where w.run_id = v_wait.run_id;
      continue;
    end if;
    perform tide._resume(v_run, jsonb_build_object('waited_on', 'budget'));
    update tide.budget_waits as w
    set woken_at = v_now
    where w.run_id = v_wait.run_id;
    v_woken := v_woken + 1;
    v_left := v_left || jsonb_build_object(
      v_wait.unit, (v_left ->> v_wait.unit)::numeric - v_wait.amount
    );
  end loop;
  return v_woken;
end;
$$;

comment on function tide._wake_waiting is
  'Wake runs that wait for an allowance or a budget, as many as what is left suffices for.';
