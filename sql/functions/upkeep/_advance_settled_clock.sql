create or replace function tide._advance_settled_clock()
returns integer
language plpgsql
volatile
as $$
begin
  perform
  from tide.ticks as t
  where t.pending_xid is null
    or pg_snapshot_xmin(pg_current_snapshot()) >= t.pending_xid
  for no key update skip locked;
  if found then
    update tide.ticks as t
    set
      settled_at = coalesce(t.pending_at, t.settled_at),
      -- The clock is read before an enqueue gets its transaction id; a second covers the gap.
      pending_at = tide._now() - interval '1 second',
      pending_xid = pg_snapshot_xmax(pg_current_snapshot());
  end if;
  return 0;
end;
$$;

comment on function tide._advance_settled_clock is
  'Move ticks.settled_at on, once every transaction that was open at the last look has ended.';
