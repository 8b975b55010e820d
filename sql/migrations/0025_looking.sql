-- What pages that list runs need: a type for what they look for, and an index of the runs that wait
-- for people. New objects only; the index is small, since few runs wait so.
create type tide.run_filter as (
  status text,
  waiting_on text,
  queue text,
  workflow text,
  failure_class text,
  metadata jsonb,
  error text,
  oldest uuid,
  before uuid
);
comment on type tide.run_filter is
  'Which runs to look for; null = any. Ids from oldest on and below before.';

create index runs_needing_people_idx on tide.runs_active (waiting_on, run_id)
where waiting_on in ('review', 'budget');
comment on index tide.runs_needing_people_idx is
  'Runs that go on only when somebody acts, however many others are parked.';
