-- What tenants, teams and the like may spend, and what steps under way have reserved of it. New tables
-- only.
create table tide.allowances (
  allowance_id uuid not null,
  scope text not null,
  unit text not null,
  per text not null,
  time_zone text not null,
  amount numeric not null,
  estimate numeric not null,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  constraint allowances_pkey primary key (scope, unit, per),
  constraint allowances_reserve_something check (amount >= 0 and estimate > 0)
);
comment on table tide.allowances is
  'What the runs of a scope, such as a tenant or a team, may spend together; runs name their scopes in '
  'their budget.';
comment on column tide.allowances.allowance_id is 'Another one each time the allowance is made.';
comment on column tide.allowances.unit is
  'usd = what usage costs, tokens = its total_tokens, else the quantity of usage with this unit.';
comment on column tide.allowances.per is
  'How long a window is: ever, day, month, or an interval counted from 1970.';
comment on column tide.allowances.time_zone is 'Where days and months begin.';
comment on column tide.allowances.amount is 'What may be spent in a window.';
comment on column tide.allowances.estimate is
  'What a step reserves that says nothing of this unit.';

create table tide.purses (
  allowance_id uuid not null,
  purse integer not null,
  share numeric not null,
  free numeric not null,
  began_at timestamptz not null,
  constraint purses_pkey primary key (allowance_id, purse)
)
with (
  fillfactor = 20,
  autovacuum_vacuum_scale_factor = 0,
  autovacuum_vacuum_threshold = 1000,
  autovacuum_vacuum_cost_delay = 0
);
comment on table tide.purses is
  'The amount of an allowance in parts, so that steps reserve beside each other: each takes from a part '
  'that nobody else has locked. The parts together never hold more than the amount.';
comment on column tide.purses.share is 'What it holds when a window begins.';
comment on column tide.purses.free is
  'What is neither spent nor reserved. Negative only in the first, and then nothing is in the others.';
comment on column tide.purses.began_at is
  'When the window began that free is of; in a later one it is what share says.';

create table tide.reserved_amounts (
  run_id uuid not null,
  step text not null,
  holder_id uuid not null,
  unit text not null,
  amount numeric not null,
  began_at timestamptz,
  constraint reserved_amounts_pkey primary key (run_id, step, holder_id, unit),
  constraint reserved_amounts_are_positive check (amount > 0)
)
with (
  fillfactor = 70,
  autovacuum_vacuum_scale_factor = 0,
  autovacuum_vacuum_threshold = 1000,
  autovacuum_vacuum_cost_delay = 0
);
comment on table tide.reserved_amounts is
  'What steps under way may still spend: taken when they begin, replaced by what they used when they end. '
  'Written only by who has locked the run.';
comment on column tide.reserved_amounts.holder_id is
  'The allowance it was taken from, or the run with the budget.';
comment on column tide.reserved_amounts.began_at is
  'The window of the allowance it was taken from; null = a budget.';
-- With run_id, so that it is as good as the key where the planner takes it for that.
create index reserved_amounts_holder_idx on tide.reserved_amounts (holder_id, run_id);

create table tide.budget_waits (
  run_id uuid not null,
  holder_id uuid not null,
  unit text not null,
  amount numeric not null,
  since timestamptz not null,
  due_at timestamptz,
  woken_at timestamptz,
  constraint budget_waits_pkey primary key (run_id)
)
with (
  autovacuum_vacuum_scale_factor = 0,
  autovacuum_vacuum_threshold = 1000,
  autovacuum_vacuum_cost_delay = 0
);
comment on table tide.budget_waits is
  'Runs parked because too little is left for their next step. Written only by who has locked the run.';
comment on column tide.budget_waits.holder_id is 'The allowance, or the run with the budget, that is short.';
comment on column tide.budget_waits.amount is 'What the step asked for.';
comment on column tide.budget_waits.since is
  'When the run began to wait: its place in the order, kept when it was woken too early.';
comment on column tide.budget_waits.due_at is 'When the window of the allowance ends; null = never.';
comment on column tide.budget_waits.woken_at is
  'When it was woken: for a minute its amount counts as taken, so that not too many are woken.';
create index budget_waits_order_idx on tide.budget_waits (holder_id, since, run_id);
create index budget_waits_due_idx on tide.budget_waits (due_at) where due_at is not null;
