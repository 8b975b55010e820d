-- The functions make legal moves only; this refuses a hand-written UPDATE. The WHEN clauses keep it
-- out of the way of what happens most. They are parsed anew for each statement, claims among them:
-- that of their trigger is as short as it can be.
create or replace function tide._check_transition()
returns trigger
language plpgsql
as $$
begin
  if new.run_id = old.run_id
    and (
      new.status = old.status
      or old.status = 'running' and new.status in ('pending', 'queued')
    )
  then
    return new;
  end if;
  raise exception 'run % cannot go from % to % by an update', old.run_id, old.status, new.status
    using errcode = 'TD030',
          hint = 'Use tide.cancel, tide.retry or the other functions of the schema.';
end;
$$;

comment on function tide._check_transition is
  'Refuses an update of a run that is no legal move of its lifecycle.';

create or replace trigger runs_active_moves_legally
before update of status on tide.runs_active
for each row
when (new.status <> 'running')
execute function tide._check_transition();

create or replace trigger runs_active_keep_their_id
before update of run_id on tide.runs_active
for each row
when (old.run_id <> new.run_id)
execute function tide._check_transition();

create or replace trigger runs_finished_stay
before update on tide.runs_finished
for each row
when (old.status is distinct from new.status or old.run_id <> new.run_id)
execute function tide._check_transition();
