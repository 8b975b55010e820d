create or replace view tide.health
with (security_barrier = true) as
with recursive lanes as (
  -- One probe of the index for each queue and priority in use.
  (
    select
      r.queue,
      case when r.turn_at is null then r.priority else 0 end as priority,
      r.run_at
    from tide.runs_active as r
    where r.ready
    order by
      r.queue,
      (case when r.turn_at is null then r.priority else 0 end) desc,
      coalesce(r.turn_at, r.run_at)
    limit 1
  )
  union all
  select
    n.queue,
    n.priority,
    n.run_at
  from lanes as l
  cross join lateral (
    select
      s.queue,
      s.priority,
      s.run_at
    from (
      (
        select
          r.queue,
          case when r.turn_at is null then r.priority else 0 end as priority,
          r.run_at
        from tide.runs_active as r
        where r.ready
          and r.queue = l.queue
          and (case when r.turn_at is null then r.priority else 0 end) < l.priority
        order by
      r.queue,
      (case when r.turn_at is null then r.priority else 0 end) desc,
      coalesce(r.turn_at, r.run_at)
        limit 1
      )
      union all
      (
        select
          r.queue,
          case when r.turn_at is null then r.priority else 0 end as priority,
          r.run_at
        from tide.runs_active as r
        where r.ready
          and r.queue > l.queue
        order by
      r.queue,
      (case when r.turn_at is null then r.priority else 0 end) desc,
      coalesce(r.turn_at, r.run_at)
        limit 1
      )
    ) as s
    limit 1
  ) as n
)
select
  coalesce(p.paused_at, t.paused_at) as paused_at,
  coalesce(p.pause_reason, t.pause_reason) as pause_reason,
  case
    when isfinite(t.next_at) then tide._now() - t.next_at + interval '500 milliseconds'
  end as last_tick_age,
  tide._now() - t.reconciled_at as last_reconcile_age,
  (
    select tide._now() - min(r.leased_until)
    from tide.runs_active as r
    where r.status = 'running'
      and r.queue is not null
      and r.leased_until < tide._now()
      and not exists (
        select
        from tide.lease_renewals as b
        where b.run_id = r.run_id
          and b.lease_id = r.lease_id
          and b.leased_until >= tide._now()
      )
  ) as oldest_expired_lease_age,
  (
    select tide._now() - nullif(min(l.run_at), 'infinity')
    from lanes as l
  ) as oldest_ready_run_age,
  (
    select tide._now() - min(s.next_fire_at)
    from tide.schedules as s
    where s.enabled
      and not s.paused
      and s.next_fire_at < tide._now()
  ) as oldest_due_schedule_age,
  (
    select tide._now() - min(d.due_at)
    from tide.deliveries as d
    where d.status = 'pending'
      and d.due_at < tide._now()
  ) as oldest_due_delivery_age,
  (
    select count(*)
    from tide.deliveries as d
    where d.status = 'dead'
  ) as dead_deliveries,
  (
    select count(*)
    from tide.endpoints as e
    where e.open_until > tide._now()
  ) as open_breakers,
  (
    select count(*)
    from tide.sweep_failures as f
    where f.retry_at > tide._now()
  ) as poison_rows,
  (
    select count(*)
    from tide.slots as s
    where s.run_id is not null
      and not exists (
        select
        from tide.runs_active as r
        where r.run_id = s.run_id
          and r.slot = s.slot
      )
  ) as leaked_slots,
  (
    select tide._now() - min(a.xact_start)
    from pg_stat_activity as a
    where a.datname = current_database()
      and a.backend_xmin is not null
      and a.pid <> pg_backend_pid()
  ) as oldest_transaction_age,
  (
    select max(age(h.xmin))
    from (
      select a.backend_xmin as xmin
      from pg_stat_activity as a
      where a.backend_xmin is not null
        and a.pid <> pg_backend_pid()
      union all
      select s.xmin
      from pg_replication_slots as s
      where s.xmin is not null
      union all
      select p.transaction
      from pg_prepared_xacts as p
    ) as h
  ) as vacuum_horizon_age
from tide.ticks as t
left join tide.pauses as p on true;

comment on view tide.health is
  'One row for a monitor: whether upkeep runs, and the age or number of everything that should be '
  'young or none. Ages are null when there is nothing; vacuum_horizon_age counts transactions.';
