-- Whoever holds the row of ticks may do so for long, and this is the emergency stop.
create or replace function tide._pause(actor text, reason text)
returns void
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
begin
  if tide._paused_at() is not null then
    return;
  end if;
  perform
  from tide.ticks as t
  for no key update skip locked;
  if found then
    update tide.ticks as t
    set
      paused_at = v_now,
      paused_by = _pause.actor,
      pause_reason = _pause.reason
    where t.paused_at is null;
  else
    insert into tide.pauses (paused_at, paused_by, pause_reason)
    values (v_now, _pause.actor, _pause.reason)
    on conflict on constraint pauses_pkey do nothing;
  end if;
end;
$$;

comment on function tide._pause is
  'Pause the installation, unless it is paused; waits for no open transaction that holds the row of '
  'ticks.';
