-- Runs that hold no slot of the cap, because they were claimed under other settings, count until
-- they end: for each of them a free slot is locked here and not used, so that claims beside this
-- one cannot use it either.
create or replace function tide._reserve(
  queue text,
  settings tide.queues,
  max_runs integer,
  workflows text[],
  push boolean
)
returns tide.reservation
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
  v_reserved tide.reservation;
  v_unslotted integer := 0;
  v_capacity integer := _reserve.max_runs;
begin
  if settings.paused or (settings.push_url is not null) <> push then
    return null;
  end if;
  if settings.concurrency is not null then
    v_unslotted := tide._count_unslotted(settings);
  end if;
  if settings.concurrency is not null or settings.rate_limit is not null then
    v_capacity := tide._capacity(settings, _reserve.max_runs, v_unslotted);
    if v_capacity = 0 then
      return null;
    end if;
  end if;
  v_reserved.settings := settings;
  v_reserved.run_ids := tide._pick(_reserve.queue, v_capacity, _reserve.workflows);
  if settings.concurrency is not null and cardinality(v_reserved.run_ids) > 0 then
    v_reserved.slots := array(
      select s.slot
      from tide.slots as s
      where s.queue = _reserve.queue
        and s.slot <= settings.concurrency
        and s.run_id is null
      order by s.slot
      limit cardinality(v_reserved.run_ids) + v_unslotted
      for no key update skip locked
    );
    v_reserved.run_ids := v_reserved.run_ids[:cardinality(v_reserved.slots) - v_unslotted];
  end if;
  if settings.rate_limit is not null and cardinality(v_reserved.run_ids) > 0 then
    v_reserved.permits := array(
      select p.permit
      from tide.permits as p
      where p.queue = _reserve.queue
        and p.available_at <= v_now
      order by p.available_at, p.permit
      limit cardinality(v_reserved.run_ids)
      for no key update skip locked
    );
    v_reserved.run_ids := v_reserved.run_ids[:cardinality(v_reserved.permits)];
  end if;
  if cardinality(v_reserved.run_ids) = 0 then
    return null;
  end if;
  return v_reserved;
end;
$$;

comment on function tide._reserve is
  'Lock ready runs of one queue and a slot and a permit for each; null when there is nothing to take. '
  'push = for a dispatch, which only push queues allow, and they allow nothing else.';
