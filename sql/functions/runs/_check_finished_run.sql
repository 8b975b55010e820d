create or replace function tide._check_finished_run()
returns trigger
language plpgsql
as $$
begin
  if new.finished_at is not null
    and not new.ready
    and num_nonnulls(
      new.slot, new.leased_until, new.waiting_on, new.dispatched_until, new.lane_slot,
      new.lane_key_slot, new.units_left
    ) = 0
  then
    return new;
  end if;
  raise exception 'run % cannot be % with these columns', new.run_id, new.status
    using errcode = '23514',
          detail = 'A run that ended has a time of its end, and holds and waits for nothing.',
          hint = 'Use the functions of the schema.';
end;
$$;

comment on function tide._check_finished_run is
  'Refuses the row of a run that ended but cannot have.';

create or replace trigger runs_finished_are_possible
before insert or update on tide.runs_finished
for each row
execute function tide._check_finished_run();
