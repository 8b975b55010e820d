-- tide: with the functions
-- Recovery, push, told events, lanes of runs, who asked for them and who holds them; parked runs have
-- no time, since drivers cannot read infinity. A short lock: columns without a rewrite. Functions return
-- rows of this table, so those of before would fail.
drop trigger if exists runs_active_moves_legally on tide.runs_active;
drop trigger if exists runs_finished_stay on tide.runs_finished;
alter table tide.runs
add column recovery_url text,
add column recover_at timestamptz,
add column recoveries integer not null default 0,
add column dispatched_until timestamptz,
add column dispatches integer not null default 0,
add column told_events integer not null default 0,
add column requested_by text,
add column session_id uuid,
add column lane text,
add column lane_key text,
add column lane_slot integer,
add column lane_key_slot integer,
add column followed boolean,
add column turn_at timestamptz,
add column dedupe_for interval,
add column cost bigint,
add column units_left bigint,
alter column run_at drop not null,
alter column input drop not null;
alter table tide.runs alter column requested_by set default session_user;
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
comment on column tide.runs.run_at is
  'Not before this time; null while parked. Kept through claims: it is the place in the queue.';
comment on column tide.runs.input is
  'null = it lies in run_inputs. Functions and views answer it wherever it lies.';
comment on column tide.runs.requested_by is
  'The login that made the run, or key and the name of the key; a child has its parent''s. Gates may '
  'say that it does not decide.';
comment on column tide.runs.session_id is
  'The secret of the worker process that leased the run, so that it can ask for its leases again.';
comment on column tide.runs.lane is
  'The lane whose limits hold for the run; null = none, empty = none but those of its steps, see run_lanes.';
comment on column tide.runs.lane_key is
  'Whom the run counts for within its lane, such as a customer; null = only in total.';
comment on column tide.runs.lane_slot is 'The place held in the lane as a whole.';
comment on column tide.runs.lane_key_slot is 'The place held in the line of its key.';
comment on column tide.runs.followed is 'true = runs wait for the end of this one; null = none ever did.';
comment on column tide.runs.cost is
  'How many units of its lane an attempt is expected to use; null = 1.';
comment on column tide.runs.units_left is
  'What is left of the cost reserved for the attempt under way: below 0 it used more; null = its lane '
  'counts no units.';
comment on column tide.runs.dedupe_for is
  'How long after its end its dedupe key stays taken; null = not at all.';
comment on column tide.runs.turn_at is
  'Where a ready run of a fair lane stands in the order of claims, in the virtual time of the lane; null = '
  'priority and run_at say it.';
-- Postgres prepares every check, and the condition of a trigger, anew for each statement, and these
-- cost up to a third of a short call: a trigger of one function takes their place.
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
-- The order of claims counts a run's turn where it has one, so its index is made again, together with
-- what reads it: claims and enqueues wait for as long as an index of the runs that are ready takes, a
-- second for some million.
drop index tide.runs_ready_idx;
create index runs_ready_idx
on tide.runs_active (
  queue,
  (case when turn_at is null then priority else 0 end) desc,
  (coalesce(turn_at, run_at)),
  run_id
)
where ready;
comment on index tide.runs_ready_idx is
  'The order of claims; the runs of fair lanes stand at priority 0. Keep it the only index on ready runs: '
  'with a narrower one beside it the planner may sort the backlog.';
