-- Schedules and the ledger of their fires. New types and tables only.
create type tide.cron as (
  minutes bit(60),
  hours bit(24),
  days bit(31),
  months bit(12),
  weekdays bit(7),
  either_day boolean,
  elapsed boolean
);
comment on type tide.cron is
  'A parsed cron expression: a bit for each minute, hour, day, month and weekday (Sunday first). '
  'either_day: both day fields are restricted and one of them suffices. elapsed: the minute or hour '
  'field begins with *, so shifts of the clock neither drop nor repeat a fire.';

create table tide.schedules (
  schedule text primary key,
  cron text not null,
  time_zone text not null,
  timing tide.cron not null,
  workflow text not null,
  input jsonb not null,
  queue text not null,
  priority integer not null,
  max_attempts integer,
  deadline interval,
  metadata jsonb not null,
  misfire text not null,
  overlap text not null,
  enabled boolean not null,
  paused boolean not null default false,
  next_fire_at timestamptz not null,
  last_fire_at timestamptz,
  last_run_id uuid,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  requested_by text,
  lane text,
  lane_key text,
  cost bigint,
  also_lanes jsonb,
  constraint schedules_misfire_known check (misfire in ('one', 'skip', 'all')),
  constraint schedules_overlap_known check (overlap in ('allow', 'skip'))
);
create index schedules_due_idx on tide.schedules (next_fire_at)
where enabled and not paused;
comment on table tide.schedules is 'Cron schedules and the runs they enqueue.';
comment on column tide.schedules.misfire is
  'What becomes of fires nobody was there for: one = the latest of them, skip = none, all = each, '
  'at most the latest 100.';
comment on column tide.schedules.overlap is
  'skip = no run while an earlier one of this schedule is active.';
comment on column tide.schedules.enabled is 'As declared by set_schedule.';
comment on column tide.schedules.paused is
  'Set by an operator with pause_schedule; a declaration does not change it.';
comment on column tide.schedules.next_fire_at is
  'The next fire; in the past when nobody has been there to fire it.';
comment on column tide.schedules.requested_by is
  'The login or key that declared the schedule last, which requests the runs it fires.';
comment on column tide.schedules.lane is 'The lane of its runs; null = none.';
comment on column tide.schedules.lane_key is 'Whom its runs count for within their lane.';
comment on column tide.schedules.cost is 'How many units of their lane its runs cost; null = 1.';
comment on column tide.schedules.also_lanes is 'Their further lanes, as enqueue takes them; null = none.';

create table tide.schedule_fires (
  schedule text not null,
  fire_at timestamptz not null,
  outcome text not null,
  fires integer not null default 1,
  last_at timestamptz,
  run_id uuid,
  created_at timestamptz not null,
  primary key (schedule, fire_at),
  constraint schedule_fires_outcome_known check (
    outcome in ('enqueued', 'by_hand', 'overlap', 'missed')
  )
);
create index schedule_fires_fire_at_idx on tide.schedule_fires (fire_at);
create index schedule_fires_runs_idx on tide.schedule_fires (schedule, fire_at)
where run_id is not null;
comment on table tide.schedule_fires is
  'The ledger of fires: its primary key is why a schedule never fires twice for one time, also after '
  'the first run has ended. Kept for 400 days.';
comment on column tide.schedule_fires.outcome is
  'enqueued = run_id was made, by_hand = with fire_schedule, overlap = an earlier run was active, '
  'missed = passed over by the misfire policy or a change of the schedule.';
comment on column tide.schedule_fires.fires is
  'missed: how many fires from fire_at to last_at; counted up to 1000.';
