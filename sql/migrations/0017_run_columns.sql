-- tide: with the functions
-- Recovery, push and told events of runs. A short lock: columns without a rewrite. Functions return
-- rows of this table, so those of before would fail.
-- Postgres prepares every check, and the condition of a trigger, anew for each statement, and those
-- of before cost up to a third of a short call: a trigger of one function takes their place.
drop trigger if exists runs_active_moves_legally on tide.runs_active;
drop trigger if exists runs_finished_stay on tide.runs_finished;
alter table tide.runs
add column recovery_url text,
add column recover_at timestamptz,
add column recoveries integer not null default 0,
add column dispatched_until timestamptz,
add column dispatches integer not null default 0,
add column told_events integer not null default 0;
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
comment on column tide.runs.told_events is
  'So many first events are not rows of tide.events: columns of the run tell them, see event_log.';
alter table tide.runs
drop constraint runs_finished_iff_terminal,
drop constraint runs_leased_iff_running,
drop constraint runs_slot_only_while_running,
drop constraint runs_queued_in_a_queue,
drop constraint runs_ready_only_when_queued,
drop constraint runs_parked_is_never_due,
drop constraint runs_attempt_not_negative,
drop constraint runs_max_attempts_sane;
alter table tide.runs_active
drop constraint runs_active_waits_for_known;
alter table tide.runs_finished
drop constraint runs_finished_holds_nothing;
-- A thousand dead rows are nothing beside a million that wait: vacuum read all its indexes for them,
-- every few seconds, and took a fifth of the claims.
alter table tide.runs_active set (autovacuum_vacuum_scale_factor = 0.01);
