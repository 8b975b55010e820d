-- What must not be is refused here and not by checks of the tables: Postgres prepares a check, and
-- the condition of a trigger, anew for each statement, which took up to a third of a short call.
-- A body is compiled once in a session.
create or replace function tide._check_run()
returns trigger
language plpgsql
as $$
declare
  v_possible boolean;
begin
  -- One expression for each status: an expression is prepared whole, in each transaction.
  if new.status = 'running' then
    v_possible := num_nulls(new.leased_until, new.lease_id, new.lease, new.run_at) = 0
      and num_nonnulls(new.waiting_on, new.finished_at, new.result) = 0
      and not new.ready
      and new.attempt >= 0
      and new.max_attempts between 1 and 100;
  elsif new.status in ('queued', 'pending') then
    v_possible := num_nonnulls(new.leased_until, new.finished_at, new.result) = 0
      and case when new.status = 'queued' then new.queue is not null else not new.ready end
      and (
        num_nonnulls(new.slot, new.lane_slot, new.lane_key_slot) = 0
        or new.dispatched_until is not null
      )
      and new.attempt >= 0
      and new.max_attempts between 1 and 100;
    if new.waiting_on is not null then
      v_possible := v_possible
        and not new.ready
        and coalesce(new.run_at, 'infinity') = 'infinity'
        and new.waiting_on in (
          'review', 'gate', 'children', 'timer', 'event', 'budget', 'push', 'lane', 'after'
        );
    elsif new.run_at is null then
      v_possible := false;
    end if;
  else
    v_possible := new.finished_at is not null
      and not new.ready
      and num_nonnulls(new.slot, new.leased_until, new.waiting_on, new.dispatched_until) = 0
      and num_nonnulls(new.lane_slot, new.lane_key_slot) = 0;
  end if;
  if not v_possible then
    raise exception 'run % cannot be % with these columns', new.run_id, new.status
      using errcode = '23514',
            detail = 'Lease, slot, queue, times and what it waits for do not fit the status.',
            hint = 'Use the functions of the schema.';
  end if;
  if tg_op = 'UPDATE' then
    if new.run_id <> old.run_id
      or new.status <> old.status
        and not (
          old.status in ('pending', 'queued') and new.status = 'running'
          or old.status = 'running' and new.status in ('pending', 'queued')
        )
    then
      raise exception 'run % cannot go from % to % by an update',
          old.run_id, old.status, new.status
        using errcode = 'TD030',
              hint = 'Use tide.cancel, tide.retry or the other functions of the schema.';
    end if;
  end if;
  return new;
end;
$$;

comment on function tide._check_run is
  'Refuses a row of a run that cannot be, and an update that is no legal move of its lifecycle.';

create or replace trigger runs_active_are_possible
before insert or update on tide.runs_active
for each row
execute function tide._check_run();

create or replace trigger runs_finished_are_possible
before insert or update on tide.runs_finished
for each row
execute function tide._check_run();
