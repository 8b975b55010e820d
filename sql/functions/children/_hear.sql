create or replace function tide._hear(wait tide.waits, signal tide.signals)
returns tide.waits
language plpgsql
volatile
as $$
begin
  update tide.signals as s
  set heard_by = wait.name
  where s.run_id = signal.run_id
    and s.name = signal.name
    and s.seq = signal.seq;
  return tide._end_wait(wait, 'received', signal.payload);
end;
$$;

comment on function tide._hear is 'Let a pending wait of a locked run get an event not heard yet.';
