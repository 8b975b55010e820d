-- Queues, their slots and permits, and the settings of the installation. New tables only.
create table tide.settings (
  only_row boolean primary key default true,
  max_payload_bytes integer not null default 1048576,
  constraint settings_has_one_row check (only_row),
  constraint settings_max_payload_bytes_sane check (
    max_payload_bytes between 4096 and 104857600
  )
);
comment on table tide.settings is 'Settings of the whole installation; exactly one row.';
comment on column tide.settings.max_payload_bytes is
  'Largest input, metadata, result, error or output, in bytes of JSON text.';
insert into tide.settings default values;

create table tide.queues (
  queue text primary key,
  paused boolean not null default false,
  concurrency integer,
  rate_limit integer,
  rate_period interval not null default '1 minute',
  max_attempts integer,
  backoff_base interval,
  backoff_max interval,
  backoff_jitter double precision,
  retention interval,
  created_at timestamptz not null default clock_timestamp(),
  updated_at timestamptz not null default clock_timestamp(),
  constraint queues_concurrency_sane check (concurrency between 1 and 2000),
  constraint queues_rate_limit_sane check (rate_limit between 1 and 10000),
  constraint queues_rate_period_positive check (rate_period > interval '0'),
  constraint queues_max_attempts_sane check (max_attempts between 1 and 100),
  constraint queues_backoff_base_positive check (backoff_base >= interval '0'),
  constraint queues_backoff_max_positive check (backoff_max >= interval '0'),
  constraint queues_backoff_jitter_sane check (backoff_jitter between 0 and 1),
  constraint queues_retention_positive check (retention >= interval '0')
);
comment on table tide.queues is
  'Settings of queues; a queue without a row has the defaults and needs no creation.';
comment on column tide.queues.concurrency is
  'Most runs of this queue that may be running at once; null = no cap.';
comment on column tide.queues.rate_limit is
  'Most starts within any window of rate_period; null = no limit.';
comment on column tide.queues.max_attempts is
  'Attempts of a run that names none; null = 1.';
comment on column tide.queues.backoff_base is 'First delay after a failure; null = 5 seconds.';
comment on column tide.queues.backoff_max is 'Longest delay after a failure; null = 5 minutes.';
comment on column tide.queues.backoff_jitter is
  'Share of the delay added at random, 0 to 1; null = 0.1.';
comment on column tide.queues.retention is
  'How long finished runs are kept; null = for ever.';

create table tide.slots (
  queue text not null,
  slot integer not null,
  run_id uuid,
  primary key (queue, slot)
) with (
  fillfactor = 50,
  autovacuum_vacuum_scale_factor = 0,
  autovacuum_vacuum_threshold = 1000,
  vacuum_truncate = off
);
comment on table tide.slots is
  'One row per place in a capped queue. A claim takes a free row with skip locked, so N rows '
  'allow N running runs without a lock on the queue.';
comment on column tide.slots.run_id is
  'The run that holds the place; not indexed, so that taking and freeing stay HOT.';

create table tide.permits (
  queue text not null,
  permit integer not null,
  available_at timestamptz not null,
  primary key (queue, permit)
) with (
  fillfactor = 70,
  autovacuum_vacuum_scale_factor = 0,
  autovacuum_vacuum_threshold = 1000,
  vacuum_truncate = off
);
create index permits_available_idx on tide.permits (queue, available_at, permit);
comment on table tide.permits is
  'One row per start a rated queue allows in its period. A start takes a row and makes it '
  'available again one period later: an exact sliding window.';
