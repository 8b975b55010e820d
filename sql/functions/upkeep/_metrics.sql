-- A function, since views are made in the order of their names and this one reads others.
create or replace function tide._metrics()
returns table (metric text, queue text, value double precision)
language plpgsql
volatile
as $$
begin
  return query
  select
    m.metric,
    q.queue,
    m.value
  from tide.queue_stats as q
  cross join lateral (
    values
      ('tide_queue_ready_runs', q.ready::double precision),
      ('tide_queue_delayed_runs', q.delayed::double precision),
      ('tide_queue_parked_runs', q.parked::double precision),
      ('tide_queue_running_runs', q.running::double precision),
      ('tide_queue_oldest_ready_seconds', extract(epoch from q.oldest_ready_age)::double precision),
      ('tide_queue_slots_busy', q.slots_busy::double precision),
      ('tide_queue_concurrency', q.concurrency::double precision),
      ('tide_queue_paused', q.paused::integer::double precision),
      ('tide_queue_completed_hour', q.completed_hour::double precision),
      ('tide_queue_failed_hour', q.failed_hour::double precision),
      ('tide_queue_cancelled_hour', q.cancelled_hour::double precision)
  ) as m(metric, value)
  where m.value is not null
  union all
  select
    m.metric,
    null,
    m.value
  from tide.health as h
  cross join lateral (
    values
      ('tide_paused', (h.paused_at is not null)::integer::double precision),
      ('tide_last_tick_seconds', extract(epoch from h.last_tick_age)::double precision),
      ('tide_last_reconcile_seconds', extract(epoch from h.last_reconcile_age)::double precision),
      (
        'tide_oldest_expired_lease_seconds',
        extract(epoch from h.oldest_expired_lease_age)::double precision
      ),
      (
        'tide_oldest_ready_run_seconds',
        extract(epoch from h.oldest_ready_run_age)::double precision
      ),
      (
        'tide_oldest_due_schedule_seconds',
        extract(epoch from h.oldest_due_schedule_age)::double precision
      ),
      (
        'tide_oldest_due_delivery_seconds',
        extract(epoch from h.oldest_due_delivery_age)::double precision
      ),
      ('tide_dead_deliveries', h.dead_deliveries::double precision),
      ('tide_open_breakers', h.open_breakers::double precision),
      ('tide_poison_rows', h.poison_rows::double precision),
      ('tide_leaked_slots', h.leaked_slots::double precision),
      (
        'tide_oldest_transaction_seconds',
        extract(epoch from h.oldest_transaction_age)::double precision
      ),
      ('tide_vacuum_horizon_transactions', h.vacuum_horizon_age::double precision)
  ) as m(metric, value)
  where m.value is not null;
end;
$$;

comment on function tide._metrics is 'The rows of view metrics.';
