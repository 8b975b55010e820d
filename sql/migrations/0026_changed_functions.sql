-- tide: with the functions
-- Functions with new arguments or another answer, each made again in this transaction, and a type of
-- theirs. No lock on tables.
alter type tide.outcome add attribute throttle text;
alter type tide.outcome add attribute used jsonb;
drop function if exists tide.await_event;
drop function if exists tide.begin_run;
drop function if exists tide.begin_step;
drop function if exists tide.cancel;
drop function if exists tide.claim;
drop function if exists tide.complete;
drop function if exists tide.complete_step;
drop function if exists tide.create_run;
drop function if exists tide.decide_gate;
drop function if exists tide.enqueue;
drop function if exists tide.enqueue_many;
drop function if exists tide.fail;
drop function if exists tide.fail_step;
drop function if exists tide.fork_run;
drop function if exists tide.open_gate;
drop function if exists tide.patch_state;
drop function if exists tide.record_usage;
drop function if exists tide.release;
drop function if exists tide.resolve_gate;
drop function if exists tide.set_queue;
drop function if exists tide.settle_and_claim;
drop function if exists tide._budgets;
drop function if exists tide._claim;
drop function if exists tide._decide;
drop function if exists tide._enqueue;
drop function if exists tide._enqueue_again;
drop function if exists tide._finish;
drop function if exists tide._is_set_aside;
drop function if exists tide._log;
drop function if exists tide._park_over_budget;
drop function if exists tide._parse_contract;
drop function if exists tide._release;
drop function if exists tide._resolve;
drop function if exists tide._resume;
drop function if exists tide._sweep;
drop function if exists tide._tick;
drop function if exists tide._valid_start;
drop function if exists tide._wait;
drop function if exists tide._write_floors;
comment on type tide.verdict is
  'What became of a reported outcome: repeated (accepted before), lost, cancelled, finished, missing, '
  'payload_too_large, bad_payload, bad_outcome (failure_class, used or a delay that cannot be stored), '
  'single (nothing was done: report it by itself); no reason = accepted.';
