-- What runs wait for and come from: columns on runs and steps, then gates, children, waits and
-- signals. Short locks: columns are added without a rewrite; the rest are new tables.
alter table tide.runs
add column parent_id uuid,
add column forked_from uuid,
add column waiting_for text,
add column open_gates integer not null default 0,
add column budget jsonb;
comment on column tide.runs.waiting_on is
  'Why a parked run waits: review, gate, children, timer, event or budget.';
comment on column tide.runs.waiting_for is
  'Which one it waits for: a gate id, a name, or for children the condition.';
comment on column tide.runs.parent_id is 'The run that spawned this one.';
comment on column tide.runs.forked_from is 'The run whose checkpoints this one began with.';
comment on column tide.runs.open_gates is 'Gates of this run nobody has decided yet.';
comment on column tide.runs.budget is
  'Limits {"max_cost_usd", "max_tokens", "max_steps"}; null = those of the queue, taken at claim.';
alter table tide.runs_active drop constraint runs_active_waits_for_known;
alter table tide.runs_active add constraint runs_active_waits_for_known check (
  waiting_on in ('review', 'gate', 'children', 'timer', 'event', 'budget')
);
alter table tide.queues add column budget jsonb;
comment on column tide.queues.budget is 'Budget of runs that have none of their own.';

alter table tide.steps add column position integer not null default 0;
comment on column tide.steps.position is
  'seq of the event that first started the step: the order of checkpoints.';

create table tide.gates (
  run_id uuid not null,
  name text not null,
  gate_id uuid not null,
  status text not null,
  prompt text not null,
  data jsonb not null,
  capability text,
  token_hash bytea,
  expires_at timestamptz,
  on_timeout text not null,
  actor text,
  payload jsonb,
  created_at timestamptz not null,
  resolved_at timestamptz,
  primary key (run_id, name),
  constraint gates_status_known check (
    status in ('pending', 'approved', 'rejected', 'canceled')
  ),
  constraint gates_on_timeout_known check (
    on_timeout in ('approved', 'rejected', 'canceled')
  ),
  constraint gates_resolved_iff_decided check (
    (resolved_at is null) = (status = 'pending')
  )
);
create unique index gates_gate_id_uidx on tide.gates (gate_id);
create index gates_pending_idx on tide.gates (created_at) where status = 'pending';
create index gates_expiring_idx on tide.gates (expires_at)
where status = 'pending' and expires_at is not null;
comment on table tide.gates is
  'Decisions that people make about runs; one row per run and gate name.';
comment on column tide.gates.token_hash is
  'sha256 of the one-time token; the token itself is shown once and never stored.';
comment on column tide.gates.on_timeout is 'The decision when nobody has decided by expires_at.';

create table tide.run_edges (
  parent_id uuid not null,
  edge text not null,
  child_id uuid not null,
  edge_type text not null default 'child',
  detached boolean not null default false,
  awaited boolean not null default false,
  child_status text,
  noticed boolean not null default true,
  metadata jsonb not null default '{}',
  created_at timestamptz not null,
  primary key (parent_id, edge),
  constraint run_edges_child_status_known check (
    child_status in ('completed', 'failed', 'cancelled')
  )
);
create index run_edges_child_idx on tide.run_edges (child_id);
create index run_edges_open_idx on tide.run_edges (parent_id) where child_status is null;
create index run_edges_awaited_idx on tide.run_edges (parent_id)
where awaited and child_status is null;
create index run_edges_unnoticed_idx on tide.run_edges (parent_id) where not noticed;
comment on table tide.run_edges is 'Which run spawned which; one row per parent and edge name.';
comment on column tide.run_edges.detached is 'The child outlives a cancellation of its parent.';
comment on column tide.run_edges.awaited is 'The parent is, or was, parked until this child ends.';
comment on column tide.run_edges.child_status is 'How the child ended; null while it is active.';
comment on column tide.run_edges.noticed is
  'false = upkeep has still to check whether this end wakes the parent.';

create table tide.cascades (
  parent_id uuid primary key,
  reason text,
  actor text,
  created_at timestamptz not null
);
comment on table tide.cascades is
  'Cancelled runs whose children have still to be cancelled, in transactions of their own.';

create table tide.waits (
  run_id uuid not null,
  kind text not null,
  name text not null,
  status text not null,
  due_at timestamptz,
  payload jsonb,
  created_at timestamptz not null,
  ended_at timestamptz,
  primary key (run_id, kind, name),
  constraint waits_kind_known check (kind in ('timer', 'event')),
  constraint waits_status_known check (status in ('pending', 'over', 'received', 'timed_out')),
  constraint waits_ended_iff_not_pending check ((ended_at is null) = (status = 'pending'))
);
create index waits_due_idx on tide.waits (due_at)
where status = 'pending' and due_at is not null;
comment on table tide.waits is
  'Sleeps and waits for events; what became of one is kept, so that it replays.';
comment on column tide.waits.due_at is 'End of the sleep, or time-out of the wait.';

create table tide.signals (
  run_id uuid not null,
  name text not null,
  payload jsonb,
  created_at timestamptz not null,
  primary key (run_id, name)
);
comment on table tide.signals is
  'Events sent to runs by name: the first one counts, and is kept until somebody waits for it.';
