-- Versioned state, usage and who watches which run. New tables only.
create table tide.state_streams (
  run_id uuid not null,
  stream text not null,
  version integer not null,
  value jsonb not null,
  updated_at timestamptz not null,
  primary key (run_id, stream)
);
comment on table tide.state_streams is 'The current value of each state stream of a run.';

create table tide.state_versions (
  run_id uuid not null,
  stream text not null,
  version integer not null,
  value jsonb not null,
  label text,
  reason text,
  importance text not null,
  metadata jsonb not null,
  created_by text,
  created_at timestamptz not null,
  primary key (run_id, stream, version),
  constraint state_versions_importance_known check (
    importance in ('transient', 'normal', 'checkpoint', 'milestone')
  )
);
comment on table tide.state_versions is
  'Every value a stream has had: versions 1, 2, 3 without a gap.';

create table tide.usage (
  run_id uuid not null,
  usage_id uuid not null,
  request_key text,
  kind text not null,
  step text,
  provider text,
  model text,
  label text,
  quantity numeric,
  unit text,
  input_tokens bigint,
  output_tokens bigint,
  total_tokens bigint,
  cost_usd numeric,
  metadata jsonb not null,
  created_at timestamptz not null,
  primary key (run_id, usage_id),
  constraint usage_not_negative check (
    quantity >= 0 and input_tokens >= 0 and output_tokens >= 0 and total_tokens >= 0
    and cost_usd >= 0
  )
);
create unique index usage_request_key_uidx on tide.usage (run_id, request_key)
where request_key is not null;
create index usage_created_idx on tide.usage (created_at);
comment on table tide.usage is 'What runs spent: one row per record, append-only.';
comment on column tide.usage.request_key is 'The same key counts once per run.';

create table tide.spending (
  run_id uuid primary key,
  cost_usd numeric not null default 0,
  tokens bigint not null default 0,
  steps bigint not null default 0
) with (fillfactor = 70);
comment on table tide.spending is
  'What runs with a budget spent, their descendants included; no row = nothing yet.';
comment on column tide.spending.steps is 'Executions of steps begun.';

create table tide.watchers (
  run_id uuid primary key,
  until timestamptz not null
);
comment on table tide.watchers is
  'Runs somebody follows: only their events are notified on channel tide_events.';
