-- What must not be is refused here and not by checks of the tables: Postgres prepares a check, and
-- the condition of a trigger, anew for each statement, which took up to a third of a short call.
-- A body is compiled once in a session. Of the row of before nothing is read, which would be unpacked
-- whole: what never changes is kept by _keep_run_identity, which is called only where it is set.
create or replace function tide._check_run()
returns trigger
language plpgsql
as $$
begin
  -- One expression for each status: an expression is prepared whole, in each transaction.
  if new.status = 'running' then
    if num_nulls(new.leased_until, new.lease_id, new.lease, new.run_at) = 0
      and num_nonnulls(new.waiting_on, new.finished_at, new.result, new.turn_at) = 0
      and not new.ready
      and new.attempt >= 0
      and new.max_attempts between 1 and 100
    then
      return new;
    end if;
  elsif new.status in ('queued', 'pending') then
    if num_nonnulls(new.leased_until, new.finished_at, new.result) = 0
      and (new.queue is null) = (new.status = 'pending')
      and (
        num_nonnulls(new.slot, new.lane_slot, new.lane_key_slot, new.units_left) = 0
        or new.dispatched_until is not null
      )
      and new.attempt >= 0
      and new.max_attempts between 1 and 100
      and (
        new.waiting_on is null
        and new.run_at is not null
        and (new.ready or new.turn_at is null)
        and (new.queue is not null or not new.ready)
        or new.waiting_on in (
          'review', 'gate', 'children', 'timer', 'event', 'budget', 'push', 'lane', 'provider',
          'after'
        )
        and not new.ready
        and new.turn_at is null
        and coalesce(new.run_at, 'infinity') = 'infinity'
      )
    then
      return new;
    end if;
  elsif tg_op = 'UPDATE' then
    raise exception 'run % cannot become % by an update', new.run_id, new.status
      using errcode = 'TD030',
            hint = 'Use tide.cancel, tide.retry or the other functions of the schema.';
  else
    -- Its partition refuses it.
    return new;
  end if;
  raise exception 'run % cannot be % with these columns', new.run_id, new.status
    using errcode = '23514',
          detail = 'Lease, slot, queue, times and what it waits for do not fit the status.',
          hint = 'Use the functions of the schema.';
end;
$$;

comment on function tide._check_run is
  'Refuses the row of an active run that cannot be, and an update that ends one.';

create or replace trigger runs_active_are_possible
before insert or update on tide.runs_active
for each row
execute function tide._check_run();
