-- What upkeep remembers: ticks, claim floors, counts, workers, failed sweeps. New tables only.
create table tide.ticks (
  only_row boolean primary key default true,
  next_at timestamptz not null default '-infinity',
  settled_at timestamptz not null default '-infinity',
  pending_at timestamptz,
  pending_xid xid8,
  counted_until timestamptz not null default date_trunc('minute', clock_timestamp()),
  reconciled_at timestamptz,
  constraint ticks_has_one_row check (only_row)
) with (fillfactor = 50);
comment on table tide.ticks is 'When upkeep last ran; exactly one row.';
comment on column tide.ticks.next_at is 'The next claim after this time does a small tick.';
comment on column tide.ticks.settled_at is
  'Every transaction that wrote before this time has ended.';
comment on column tide.ticks.pending_at is
  'Becomes settled_at once every transaction below pending_xid has ended.';
comment on column tide.ticks.counted_until is
  'tide.queue_minutes is complete up to this time.';
comment on column tide.ticks.reconciled_at is 'When tide.reconcile last finished a round.';
insert into tide.ticks default values;

create table tide.claim_floors (
  queue text not null,
  priority integer not null,
  run_at timestamptz not null,
  primary key (queue, priority)
) with (fillfactor = 50);
comment on table tide.claim_floors is
  'Where claims start to look: below lie only entries of runs that are gone. A hint, computed '
  'again by each tick.';

create table tide.queue_minutes (
  queue text not null,
  minute timestamptz not null,
  completed bigint not null,
  failed bigint not null,
  cancelled bigint not null,
  primary key (queue, minute)
);
comment on table tide.queue_minutes is
  'Runs of each queue that ended, by minute, for two days; behind tide.queue_stats.';

create table tide.workers (
  worker text primary key,
  queues text[] not null,
  workflows text[],
  seen_at timestamptz not null
) with (fillfactor = 70);
comment on table tide.workers is
  'Workers that claim, with a name; seen_at is written at most every ten seconds.';
comment on column tide.workers.workflows is 'null = every workflow.';

create table tide.sweep_failures (
  sweep text not null,
  key text not null,
  error text not null,
  sqlstate text not null,
  failures integer not null default 1,
  failed_at timestamptz not null,
  retry_at timestamptz not null,
  primary key (sweep, key)
);
comment on table tide.sweep_failures is
  'Rows that upkeep could not handle; left alone until retry_at so that others proceed.';
comment on column tide.sweep_failures.key is 'The run, or queue/slot, that failed.';
