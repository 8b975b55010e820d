-- Who holds the lease spends by it. A bystander spends of the run's own queue, and of no queue above it
-- that is closed to the login.
create or replace function tide._require_spender(run tide.runs)
returns boolean
language plpgsql
stable
as $$
begin
  if not exists (
    select
    from tide.queue_grants as g
  ) or not exists (
    select
    from unnest(tide._budgets(_require_spender.run)) as b
    join tide.runs as r on r.run_id = b.run_id
    where r.queue is not null
      and not tide._may_use(r.queue)
  )
  then
    return true;
  end if;
  raise exception 'login % may not spend the budget that run % shares', session_user, run.run_id
    using errcode = '42501',
          hint = 'Give the lease_id of the run; for a restricted queue an operator calls '
                 'tide.grant_queue.';
end;
$$;

comment on function tide._require_spender is
  'True, or 42501: without its lease nobody spends the budget of an ancestor in a queue closed to the login.';
