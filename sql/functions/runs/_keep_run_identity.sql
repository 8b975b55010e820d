create or replace function tide._keep_run_identity()
returns trigger
language plpgsql
as $$
begin
  if new.run_id = old.run_id
    and new.queue is not distinct from old.queue
    and (new.status = old.status or old.finished_at is null)
  then
    return new;
  end if;
  raise exception 'run % cannot become another run by an update', old.run_id
    using errcode = 'TD030',
          detail = 'Its id, its queue and how it ended are kept.',
          hint = 'Use tide.cancel, tide.retry or the other functions of the schema.';
end;
$$;

comment on function tide._keep_run_identity is
  'Refuses an update of what a run is, and of how it ended.';

create or replace trigger runs_active_are_kept
before update of run_id, queue on tide.runs_active
for each row
execute function tide._keep_run_identity();

create or replace trigger runs_finished_are_kept
before update of run_id, queue, status on tide.runs_finished
for each row
execute function tide._keep_run_identity();
