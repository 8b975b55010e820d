create or replace function tide._end_budgets(run_ids uuid[])
returns void
language plpgsql
volatile
as $$
declare
  v_holders uuid[];
begin
  -- Runs of a batch are of many allowances: who waited for one while it holds another might wait for
  -- ever. The sweep gives back what is left.
  perform tide._release_reserved(run_ids, waits => false);
  with gone as (
    delete from tide.budget_waits as w
    where w.run_id = any (_end_budgets.run_ids)
    returning
      w.holder_id,
      w.woken_at
  )
  select array_agg(distinct g.holder_id)
  into v_holders
  from gone as g
  where g.woken_at is not null;
  if v_holders is not null then
    perform tide._wake_waiting(h.holder_id)
    from unnest(v_holders) as h(holder_id);
  end if;
end;
$$;

comment on function tide._end_budgets is
  'Give back what runs that end have reserved, and let others have what they waited for.';
