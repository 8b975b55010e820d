-- Floors among the runs of one time. A short lock: a column without a rewrite.
alter table tide.claim_floors
add column first_id uuid not null default '00000000-0000-0000-0000-000000000000';
comment on column tide.claim_floors.first_id is
  'Where the runs of that run_at begin to be looked at: those of a batch all have one.';
