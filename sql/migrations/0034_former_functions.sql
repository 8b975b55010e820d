-- tide: after the functions, after the deploy
-- Functions that calls under way during the upgrade may still have called. No lock on tables.
drop function if exists tide._parse_run(text, text, integer, timestamptz, jsonb);
drop function if exists tide._parse_runs(text, jsonb);
drop function if exists tide._enqueued_payload(tide.runs);
drop function if exists tide._pick_range(text, integer, integer, integer, text[]);
drop function if exists tide._check_transition();
drop function if exists tide._drains(tide.queues);
drop function if exists tide._lock_any(uuid);
drop function if exists tide._room(tide.queues, integer, boolean);
drop function if exists tide._hold_permits(tide.queues, integer);
drop function if exists tide._use_permits(tide.queues, integer[]);
drop function if exists tide._pick_above_floor(text, integer, timestamptz, integer, text[]);
drop function if exists tide._claim_queue(text, integer, interval, text, text[]);
drop function if exists tide._register_worker(text, text[], text[]);
drop function if exists tide._charge(tide.runs, numeric, bigint, bigint);
drop function if exists tide._over_budget(tide.runs);
drop function if exists tide._lock_spending(tide.runs);
drop function if exists tide._add_child(tide.runs, tide.runs, jsonb);
drop function if exists tide._parse_child(tide.runs, jsonb);
drop function if exists tide._made_before(uuid, text, jsonb, boolean);
drop function if exists tide._pick(text, integer, text[]);
drop function if exists tide._replay_action(tide.steps, uuid);
