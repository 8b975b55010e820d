-- NOTIFY takes a lock of the whole database at commit: only for runs somebody watches.
create or replace function tide._tell(run_ids uuid[], seqs integer[], type text)
returns void
language plpgsql
volatile
as $$
begin
  perform tide._announce(_tell.run_ids, _tell.seqs, _tell.type);
  perform pg_notify('tide_events', tide._told_as(w.run_id::text))
  from tide.watchers as w
  where w.run_id = any (_tell.run_ids);
end;
$$;

comment on function tide._tell is
  'Write the deliveries of events just appended and notify who watches their runs.';
