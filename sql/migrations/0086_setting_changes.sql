-- tide: with the functions
-- Who changed which setting. A new table only; functions that gain an actor are made again in this
-- transaction.
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
  constraint setting_changes_kind_known check (kind in ('queue', 'schedule', 'installation'))
);
comment on table tide.setting_changes is
  'What was changed about queues, schedules and the installation, by whom. Rows are only added, and '
  'removed when the retention of the installation has passed.';
comment on column tide.setting_changes.name is 'Of the queue or schedule; null = the installation.';
comment on column tide.setting_changes.queue is 'Who may use it may read this.';
comment on column tide.setting_changes.actor is 'Who did it, as the caller says.';
comment on column tide.setting_changes.login is 'The login the call came through.';
comment on column tide.setting_changes.before is
  'What was set, of all that changed; empty when the schedule is new.';
comment on column tide.setting_changes.after is
  'What was set then; empty when the schedule was dropped.';
create index setting_changes_of_one_idx on tide.setting_changes (kind, name, change_id);
drop function if exists tide.set_queue;
drop function if exists tide.set_schedule;
drop function if exists tide.drop_schedule;
drop function if exists tide.pause_schedule;
drop function if exists tide.resume_schedule;
drop function if exists tide.resume;
