-- One probe for each queue and priority in use finds its first ready run, and how many entries of runs
-- that are gone lie before it. The runs of a batch have one run_at, so its run_id counts too. Where
-- there are too many for a tick, a floor that is not computed again goes: no run can hide below one
-- for longer than a tick.
create or replace function tide._raise_floors(max_floors integer)
returns integer
language plpgsql
volatile
as $$
declare
  v_settled timestamptz;
  v_queue text := '';
  v_priority integer;
  v_run record;
  v_read bigint;
  v_needed boolean;
  v_lowered tid[];
  v_floors tide.claim_floors[] := array[]::tide.claim_floors[];
begin
  select t.settled_at
  into v_settled
  from tide.ticks as t;
  if not tide._take_turn('claim_floors') then
    return 0;
  end if;
  v_lowered := array(
    select d.ctid
    from tide.lowered_floors as d
    order by d.run_at
    limit 1000
    for update skip locked
  );
  while cardinality(v_floors) < max_floors loop
    v_read := pg_stat_get_xact_tuples_returned('tide.runs_ready_idx'::regclass);
    select
      r.queue,
      case when r.turn_at is null then r.priority else 0 end as priority,
      coalesce(r.turn_at, r.run_at) as run_at,
      r.run_id
    into v_run
    from tide.runs_active as r
    where r.ready
      and r.queue = v_queue
      and (case when r.turn_at is null then r.priority else 0 end) < v_priority
    order by
      (case when r.turn_at is null then r.priority else 0 end) desc,
      coalesce(r.turn_at, r.run_at),
      r.run_id
    limit 1;
    if not found then
      select
        r.queue,
        case when r.turn_at is null then r.priority else 0 end as priority,
        coalesce(r.turn_at, r.run_at) as run_at,
        r.run_id
      into v_run
      from tide.runs_active as r
      where r.ready
        and r.queue > v_queue
      order by
        r.queue,
        (case when r.turn_at is null then r.priority else 0 end) desc,
        coalesce(r.turn_at, r.run_at),
        r.run_id
      limit 1;
      exit when not found;
    end if;
    v_queue := v_run.queue;
    v_priority := v_run.priority;
    v_needed := tide._needs_floor(
      pg_stat_get_xact_tuples_returned('tide.runs_ready_idx'::regclass) - v_read
    );
    v_floors := v_floors || (
      v_queue,
      v_priority,
      case when v_needed then least(v_run.run_at, v_settled) end,
      case when v_run.run_at < v_settled then v_run.run_id else tide._lowest_id() end
    )::tide.claim_floors;
  end loop;
  perform tide._write_floors(
    v_floors,
    settled => case when cardinality(v_floors) < max_floors then v_settled end,
    -- Where nothing is ready nothing is read: a floor helps only while vacuum is held back.
    held => pg_stat_get_dead_tuples('tide.runs_active'::regclass) > 1000
  );
  for v_queue, v_priority in
    select distinct
      d.queue,
      d.priority
    from tide.lowered_floors as d
    where d.ctid = any (v_lowered)
  loop
    -- What lowered it is seen by what was computed above, if the floor could be written.
    perform
    from tide.claim_floors as f
    where f.queue = v_queue
      and f.priority = v_priority
    for no key update skip locked;
    if found or not exists (
      select
      from tide.claim_floors as f
      where f.queue = v_queue
        and f.priority = v_priority
    ) then
      delete from tide.lowered_floors as d
      where d.ctid = any (v_lowered)
        and d.queue = v_queue
        and d.priority = v_priority;
    end if;
  end loop;
  return 0;
end;
$$;

comment on function tide._raise_floors is
  'Compute the claim floors that are needed again: no higher than the first ready run, nor than the time '
  'from which on a transaction may still be open.';
