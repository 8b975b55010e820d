create or replace function tide._hold_keys(run_ids uuid[])
returns void
language plpgsql
volatile
as $$
#variable_conflict use_column
begin
  insert into tide.held_keys as h (queue, dedupe_key, run_id, until)
  select
    r.queue,
    r.dedupe_key,
    r.run_id,
    r.finished_at + r.dedupe_for
  from tide.runs_finished as r
  where r.run_id = any (_hold_keys.run_ids)
  on conflict (queue, dedupe_key) do update
  set
    run_id = excluded.run_id,
    until = excluded.until;
end;
$$;

comment on function tide._hold_keys is
  'Keep the dedupe keys of runs that have just ended taken, for as long as each says.';
