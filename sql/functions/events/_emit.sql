create or replace function tide._emit(
  run_ids uuid[],
  seqs integer[],
  type text,
  payloads jsonb[]
)
returns void
language plpgsql
volatile
as $$
begin
  insert into tide.events (run_id, seq, type, created_at, payload)
  select
    e.run_id,
    e.seq,
    _emit.type,
    tide._now(),
    e.payload
  from unnest(_emit.run_ids, _emit.seqs, _emit.payloads) as e(run_id, seq, payload);
  if exists (
    select
    from tide.channels as c
    where c.run_id = any (_emit.run_ids)
  ) then
    perform tide._announce(_emit.run_ids, _emit.type, _emit.payloads);
  end if;
  -- NOTIFY takes a lock of the whole database at commit: only for runs somebody follows.
  perform pg_notify('tide_events', w.run_id::text)
  from tide.watchers as w
  where w.run_id = any (_emit.run_ids);
end;
$$;

comment on function tide._emit is
  'Append events of one type and write their deliveries; each seq was drawn from the locked run row by '
  'the caller.';
