-- Parked runs have no time: infinity, which they had, drivers cannot read. A short lock: a column
-- without a rewrite.
alter table tide.runs alter column run_at drop not null;
comment on column tide.runs.run_at is
  'Not before this time; null while parked. Kept through claims: it is the place in the queue.';
