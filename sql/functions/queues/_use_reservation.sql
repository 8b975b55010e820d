create or replace function tide._use_reservation(reserved tide.reservation)
returns void
language plpgsql
volatile
as $$
begin
  if reserved.slots is not null then
    update tide.slots as s
    set run_id = p.run_id
    from unnest(reserved.run_ids, reserved.slots) as p(run_id, slot)
    where s.queue = (reserved.settings).queue
      and s.slot = p.slot
      and p.run_id is not null;
  end if;
  if reserved.permits is not null then
    update tide.permits as p
    set available_at = tide._now() + (reserved.settings).rate_period
    where p.queue = (reserved.settings).queue
      and p.permit = any (reserved.permits);
  end if;
end;
$$;

comment on function tide._use_reservation is
  'Write down which run holds which slot, and make the permits available again one period from now: '
  'after all that tells of the starts is written, so that no window holds too many.';
