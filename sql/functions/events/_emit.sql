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
    union all
    select
    from tide.watchers as w
    where w.run_id = any (_emit.run_ids)
  ) then
    perform tide._tell(_emit.run_ids, _emit.seqs, _emit.type);
  end if;
end;
$$;

comment on function tide._emit is
  'Append events of one type and tell who follows them; each seq was drawn from the locked run row by '
  'the caller.';
