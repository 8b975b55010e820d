create or replace function tide._lower_floor(
  queue text,
  priority integer,
  run_at timestamptz
)
returns void
language plpgsql
volatile
as $$
begin
  perform
  from tide.claim_floors as f
  where f.queue = _lower_floor.queue
    and f.priority = _lower_floor.priority
  for no key update skip locked;
  if found then
    update tide.claim_floors as f
    set
      run_at = _lower_floor.run_at,
      first_id = tide._lowest_id()
    where f.queue = _lower_floor.queue
      and f.priority = _lower_floor.priority
      and (f.run_at, f.first_id) > (_lower_floor.run_at, tide._lowest_id());
  elsif exists (
    select
    from tide.claim_floors as f
    where f.queue = _lower_floor.queue
      and f.priority = _lower_floor.priority
  ) then
    -- Whoever holds the floor may do so for long, and may be raising it.
    insert into tide.lowered_floors (queue, priority, run_at)
    values (_lower_floor.queue, _lower_floor.priority, _lower_floor.run_at);
  end if;
end;
$$;

comment on function tide._lower_floor is
  'Let claims see a run that became ready with a time in the past, also while another holds the floor.';
