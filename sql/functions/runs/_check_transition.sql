-- The functions make legal moves only; this refuses a hand-written UPDATE. The WHEN clauses keep it
-- out of the way of legal ones: the function is not even called.
create or replace function tide._check_transition()
returns trigger
language plpgsql
as $$
begin
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
when (
  new.status <> 'running'
  and old.status <> new.status
  and (old.status <> 'running' or new.status not in ('pending', 'queued'))
)
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
