-- tide: with the functions
-- Recovery and push of runs. A short lock: columns without a rewrite, two checks replaced and not
-- validated yet. Functions return rows of this table, so those of before would fail.
alter table tide.runs
add column recovery_url text,
add column recover_at timestamptz,
add column recoveries integer not null default 0,
add column dispatched_until timestamptz,
add column dispatches integer not null default 0;
comment on column tide.runs.waiting_on is
  'Why a parked run waits: review, gate, children, timer, event, budget, or push = it was pushed to '
  'its application, which has not begun it yet.';
comment on column tide.runs.recovery_url is
  'Where a plain run is announced when it stalls, so that its application resumes it.';
comment on column tide.runs.recover_at is
  'When to look next whether the run stalls; null = no recovery_url, or nothing to look for.';
comment on column tide.runs.recoveries is 'How often run.resume was sent.';
comment on column tide.runs.dispatched_until is
  'A pushed run not begun by then is pushed again.';
comment on column tide.runs.dispatches is 'How often the run was pushed since it last began.';
alter table tide.runs drop constraint runs_slot_only_while_running;
alter table tide.runs add constraint runs_slot_only_while_running check (
  slot is null or status = 'running' or coalesce(waiting_on = 'push', false)
) not valid;
alter table tide.runs_active drop constraint runs_active_waits_for_known;
alter table tide.runs_active add constraint runs_active_waits_for_known check (
  waiting_on in ('review', 'gate', 'children', 'timer', 'event', 'budget', 'push')
) not valid;
