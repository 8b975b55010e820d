-- What must not be is refused here and not by checks of the tables: Postgres prepares a check, and
-- the condition of a trigger, anew for each statement, which took up to a third of a short call.
-- A body is compiled once in a session.
create or replace function tide._check_run()
returns trigger
language plpgsql
as $$
begin
  if new.status in ('completed', 'failed', 'cancelled') then
    if new.finished_at is null
      or new.ready
      or num_nonnulls(new.slot, new.leased_until, new.waiting_on, new.dispatched_until) > 0
    then
      raise exception 'run % is % and holds or waits for something', new.run_id, new.status
        using errcode = '23514',
              hint = 'Use the functions of the schema.';
    end if;
  elsif (new.status = 'running') = (new.leased_until is null)
    or (new.status = 'running') and (new.lease_id is null or new.lease is null or new.ready)
    or (new.status = 'queued') and new.queue is null
    or new.ready and (new.status <> 'queued' or new.waiting_on is not null)
    or new.waiting_on is not null
      and (
        new.status = 'running'
        or new.run_at < 'infinity'
        or new.waiting_on not in (
          'review', 'gate', 'children', 'timer', 'event', 'budget', 'push'
        )
      )
    or new.waiting_on is null and new.run_at is null
    or new.slot is not null and new.status <> 'running' and new.dispatched_until is null
    or new.attempt < 0
    or new.max_attempts not between 1 and 100
    or num_nonnulls(new.finished_at, new.result) > 0
  then
    raise exception 'run % cannot be % with these columns', new.run_id, new.status
      using errcode = '23514',
            detail = 'Lease, slot, queue, time and what it waits for do not fit the status.',
            hint = 'Use the functions of the schema.';
  end if;
  if tg_op = 'UPDATE'
    and (
      new.run_id <> old.run_id
      or new.status <> old.status
        and not (
          old.status in ('pending', 'queued') and new.status = 'running'
          or old.status = 'running' and new.status in ('pending', 'queued')
        )
    )
  then
    raise exception 'run % cannot go from % to % by an update', old.run_id, old.status, new.status
      using errcode = 'TD030',
            hint = 'Use tide.cancel, tide.retry or the other functions of the schema.';
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
