create or replace function tide._end_wait(wait tide.waits, status text, payload jsonb)
returns tide.waits
language plpgsql
volatile
as $$
declare
  v_wait tide.waits;
begin
  update tide.waits as w
  set
    status = _end_wait.status,
    payload = _end_wait.payload,
    ended_at = tide._now()
  where w.run_id = wait.run_id
    and w.kind = wait.kind
    and w.name = wait.name
    and w.status = 'pending'
  returning w.* into v_wait;
  return v_wait;
end;
$$;

comment on function tide._end_wait is 'Record how a wait of a locked run ended: it replays so.';
