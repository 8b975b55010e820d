create or replace function tide._write_told_events(run_ids uuid[])
returns void
language plpgsql
volatile
as $$
begin
  -- The columns tell the first three at most; those already written down are in the way.
  insert into tide.events (run_id, seq, type, created_at, payload)
  select
    l.run_id,
    l.seq,
    l.type,
    l.created_at,
    l.payload
  from tide.event_log as l
  where l.run_id = any (_write_told_events.run_ids)
    and l.seq <= 3
  on conflict do nothing;
end;
$$;

comment on function tide._write_told_events is
  'Write down the events that only the columns of the runs tell, before these change; the caller has '
  'locked the rows and sets told_events to 0.';
