-- Who changed which setting, and own prices of models. New tables only.
create table tide.setting_changes (
  change_id bigint generated always as identity,
  changed_at timestamptz not null,
  kind text not null,
  name text,
  queue text,
  actor text,
  login text not null,
  before jsonb not null,
  after jsonb not null,
  constraint setting_changes_pkey primary key (change_id),
  constraint setting_changes_kind_known check (
    kind in ('queue', 'lane', 'schedule', 'installation', 'price', 'allowance')
  )
);
comment on table tide.setting_changes is
  'What was changed about queues, lanes, schedules, the installation, prices and allowances, by whom. Rows '
  'are only added, and removed when the retention of the installation has passed.';
comment on column tide.setting_changes.name is
  'Of the queue, lane or schedule; of a price provider/model; of an allowance scope, unit/per; null = the '
  'installation.';
comment on column tide.setting_changes.queue is 'Who may use it may read this.';
comment on column tide.setting_changes.actor is 'Who did it, as the caller says.';
comment on column tide.setting_changes.login is 'The login the call came through.';
comment on column tide.setting_changes.before is
  'What was set, of all that changed; empty when the schedule is new.';
comment on column tide.setting_changes.after is
  'What was set then; empty when the schedule was dropped.';
create index setting_changes_of_one_idx on tide.setting_changes (kind, name, change_id);

create table tide.prices (
  provider text not null,
  model text not null,
  input_usd numeric not null,
  output_usd numeric not null,
  set_at timestamptz not null,
  set_by text not null,
  primary key (provider, model),
  constraint prices_are_not_negative check (input_usd >= 0 and output_usd >= 0)
);
comment on table tide.prices is
  'What models cost here, in dollars for a million tokens; it counts for usage without a cost.';
comment on column tide.prices.provider is '* = any provider that has no price of its own.';
