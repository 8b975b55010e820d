-- Identity, waiting workers, renewals of leases, and rows to be locked instead of advisory locks. New
-- tables only.
create table tide.identity (
  only_row boolean primary key default true,
  system_identifier bigint,
  database_oid oid,
  timeline text,
  failed_over_at timestamptz,
  adopted_at timestamptz not null default clock_timestamp(),
  constraint identity_has_one_row check (only_row)
);
comment on table tide.identity is
  'The database this installation belongs to. In a copy of it, upkeep pauses until adopt is called.';
comment on column tide.identity.timeline is
  'Changes at a failover; leases then get one further lease of grace.';
do $$
begin
  insert into tide.identity (system_identifier, database_oid, timeline)
  select
    (pg_control_system()).system_identifier,
    d.oid,
    substring(pg_walfile_name(pg_current_wal_lsn()) for 8)
  from pg_database as d
  where d.datname = current_database();
exception
  -- Some hosted servers keep these to themselves; what is not known is not compared.
  when insufficient_privilege or undefined_function or feature_not_supported then
    insert into tide.identity (database_oid)
    select d.oid
    from pg_database as d
    where d.datname = current_database();
end;
$$;

create table tide.waiters (
  queue text not null,
  waiter text not null,
  since timestamptz not null,
  until timestamptz not null,
  primary key (queue, waiter, since)
) with (
  fillfactor = 50,
  autovacuum_vacuum_scale_factor = 0,
  autovacuum_vacuum_threshold = 200,
  vacuum_truncate = off
);
comment on table tide.waiters is
  'Idle workers that listen. The call that makes a run ready takes a row away and notifies its worker, so '
  'a busy system, where nobody waits, sends no NOTIFY.';

create table tide.lease_renewals (
  run_id uuid not null,
  lease_id uuid not null,
  leased_until timestamptz not null
)
with (fillfactor = 50);
-- Not unique: an insert would wait for another one that is not committed. The latest end counts.
create index lease_renewals_run_idx on tide.lease_renewals (run_id);
comment on table tide.lease_renewals is
  'Renewals of leases whose run another transaction held just then. Only workers write here, so a '
  'renewal never waits for a stranger and is never lost to one.';

create table tide.turns (
  turn text,
  next_at timestamptz not null default '-infinity',
  constraint turns_pkey primary key (turn)
)
with (fillfactor = 50);
comment on table tide.turns is
  'Whose turn it is: a piece of upkeep locks its row, so one caller does it at a time. Only functions of '
  'the schema can lock these rows; the number of an advisory lock any login could take.';
comment on column tide.turns.next_at is
  'Of the turns of ticks: the next claim after this time does a small tick, where the row of ticks has '
  'been held for long.';
insert into tide.turns (turn)
values
  ('reconcile'),
  ('claim_floors'),
  ('endpoints'),
  ('tick 1'),
  ('tick 2'),
  ('tick 3'),
  ('tick 4'),
  ('tick 5'),
  ('tick 6'),
  ('tick 7'),
  ('tick 8');
insert into tide.turns (turn)
select 'worker ' || n.bucket
from generate_series(0, 63) as n(bucket);

create unlogged table tide.key_turns (
  key_hash bytea,
  constraint key_turns_pkey primary key (key_hash)
);
comment on table tide.key_turns is
  'Dedupe keys of batches under way: of two that share a key, the later one waits here. No committed '
  'transaction leaves a row.';

create table tide.pauses (
  only_row boolean default true,
  paused_at timestamptz not null,
  paused_by text not null,
  pause_reason text,
  constraint pauses_pkey primary key (only_row),
  constraint pauses_have_one_row check (only_row)
);
comment on table tide.pauses is
  'The pause of the installation where a transaction held the row of ticks when pause was called.';

create table tide.lowered_floors (
  queue text not null,
  priority integer not null,
  run_at timestamptz not null
);
create index lowered_floors_idx on tide.lowered_floors (queue, priority, run_at);
comment on table tide.lowered_floors is
  'Claim floors lowered while another transaction held the floor itself; an insert waits for nobody. '
  'The next tick that has the floor takes them back.';

create table tide.time_bins (
  queue text not null,
  lane text not null,
  hour timestamptz not null,
  measure text not null,
  bin integer not null,
  runs bigint not null,
  seconds double precision not null,
  constraint time_bins_pkey primary key (queue, hour, lane, measure, bin),
  constraint time_bins_measure_known check (measure in ('wait', 'run')),
  constraint time_bins_are_bins check (bin between 0 and 160)
)
with (fillfactor = 70);
comment on table tide.time_bins is
  'How long runs of each queue and lane waited and worked in their last attempt, by hour of their end, for '
  'two days; behind tide.run_times. Counted from rows of finished runs, so no run pays for it.';
comment on column tide.time_bins.lane is 'Empty = runs in no lane.';
comment on column tide.time_bins.hour is 'minus infinity = all hours that are no longer kept by themselves.';
comment on column tide.time_bins.measure is
  'wait = from when the run could be claimed to its start; run = from its start to its end.';
comment on column tide.time_bins.bin is
  'n = longer than 2^((n-1)/4) ms, up to 2^(n/4) ms; 0 = up to 1 ms. So neighbours differ by 19 percent.';
comment on column tide.time_bins.seconds is 'What the times in the bin add up to.';
create index time_bins_hour_idx on tide.time_bins (hour);
