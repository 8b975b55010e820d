create or replace function tide._use_slots(taken tide.taken)
returns void
language plpgsql
volatile
as $$
begin
  update tide.slots as s
  set run_id = p.run_id
  from unnest(taken.run_ids, taken.slots) as p(run_id, slot)
  where s.queue = (taken.settings).queue
    and s.slot = p.slot
    and p.run_id is not null;
end;
$$;

comment on function tide._use_slots is 'Write down which run holds which slot.';
