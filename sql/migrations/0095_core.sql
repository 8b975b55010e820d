-- tide: with the functions
-- Who leased a run, so that a claim can be asked again; types of functions. A short lock: a column
-- without a rewrite.
alter table tide.runs add column session_id uuid;
comment on column tide.runs.session_id is
  'The secret of the worker process that leased the run, so that it can ask for its leases again.';

create type tide.new_run as (
  run_id uuid,
  workflow text,
  queue text,
  input jsonb,
  metadata jsonb,
  dedupe_key text,
  priority integer,
  max_attempts integer,
  run_at timestamptz,
  created_at timestamptz,
  deadline interval,
  deadline_at timestamptz,
  backoff jsonb,
  budget jsonb,
  recovery_url text,
  given_id boolean,
  on_conflict text,
  requested_by text,
  told_events integer,
  parent_id uuid,
  forked_from uuid,
  last_seq integer,
  attempt integer,
  started_at timestamptz,
  worker text,
  error jsonb
);
comment on type tide.new_run is
  'What a run is made of. given_id = the caller made its id, so that the call can be repeated; '
  'told_events = 1: its row tells that it was enqueued; the last ones are set for runs made again.';
