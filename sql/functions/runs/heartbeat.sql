create or replace function tide.heartbeat(
  run_ids uuid[],
  lease_ids uuid[],
  lease interval default '60 seconds'
)
returns table (run_id uuid, state text)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
declare
  v_lease constant interval := tide._valid_lease(heartbeat.lease);
  v_now constant timestamptz := tide._now();
  v_held uuid[];
  v_overdue uuid[];
  v_passed uuid[];
begin
  perform tide._require_read_committed('heartbeat');
  if heartbeat.run_ids is null
    or cardinality(heartbeat.run_ids) is distinct from cardinality(heartbeat.lease_ids)
    or cardinality(heartbeat.run_ids) > 10000
    or array_ndims(heartbeat.run_ids) > 1
    or array_ndims(heartbeat.lease_ids) > 1
    or exists (
      select
      from unnest(heartbeat.run_ids, heartbeat.lease_ids) as b(run_id, lease_id)
      where b.run_id is null
        or b.lease_id is null
    )
  then
    raise exception 'run_ids and lease_ids do not match or hold null: % and % entries',
        coalesce(cardinality(heartbeat.run_ids)::text, 'null'),
        coalesce(cardinality(heartbeat.lease_ids)::text, 'null')
      using errcode = '22023',
            hint = 'Give one lease id for each run id, at most 10000.';
  end if;

  -- Skip locked: neither a stranger nor the worker's own open transaction may keep it waiting.
  select
    array_agg(l.run_id) filter (where l.deadline_at is null or l.deadline_at > v_now),
    array_agg(l.run_id) filter (where l.deadline_at <= v_now)
  into v_held, v_overdue
  from (
    select
      h.run_id,
      h.deadline_at
    from unnest(heartbeat.run_ids, heartbeat.lease_ids) as b(run_id, lease_id)
    cross join lateral (
      select
        r.run_id,
        r.deadline_at
      from tide.runs_active as r
      where r.run_id = b.run_id
        and r.lease_id = b.lease_id
        -- As in _settle_others: not by the small index of running runs.
        and r.leased_until is not null
      for no key update skip locked
    ) as h
  ) as l;

  update tide.runs_active as r
  set
    leased_until = v_now + v_lease,
    lease = v_lease
  where r.run_id = any (v_held);
  if cardinality(run_ids) > coalesce(cardinality(v_held), 0) then
    select array_agg(h.run_id)
    into v_passed
    from unnest(heartbeat.run_ids, heartbeat.lease_ids) as b(run_id, lease_id)
    cross join lateral (
      select r.run_id
      from tide.runs_active as r
      where r.run_id = b.run_id
        and r.lease_id = b.lease_id
        and r.leased_until is not null
      offset 0
    ) as h
    where h.run_id <> all (coalesce(v_held || v_overdue, '{}'));
  end if;
  if v_passed is not null then
    perform tide._renew_beside(v_passed, v_lease);
  end if;
  if v_overdue is not null then
    perform tide._finish(v_overdue, 'cancelled', reason => 'deadline', actor => 'tide');
  end if;

  return query
  select
    b.run_id,
    case
      when r.lease_id = b.lease_id and r.leased_until = v_now + v_lease then 'held'
      when r.lease_id <> b.lease_id and not tide._may_use(r.queue) then 'lost'
      when r.status = 'cancelled' then 'cancelled'
      when r.status in ('completed', 'failed') then 'finished'
      when r.status = 'running' and r.lease_id = b.lease_id then 'busy'
      else 'lost'
    end
  from unnest(heartbeat.run_ids, heartbeat.lease_ids) as b(run_id, lease_id)
  left join lateral (
    select
      f.status,
      f.lease_id,
      f.leased_until,
      f.queue
    from tide.runs as f
    where f.run_id = b.run_id
    offset 0
  ) as r on true;
end;
$$;

comment on function tide.heartbeat is
  'Renew the leases of all runs of a worker: held, busy (yours and renewed as well, while another '
  'transaction holds the row), lost, cancelled or finished. Never waits, never revives a lost lease.';
