-- What enqueue, claim and completion have to tell stands in the run's own columns: most runs do
-- nothing else, and writing it down a second time was a quarter of their cost. One relation to an
-- arm and no join, so that a look for some runs reads these alone. What run.enqueued says is said
-- here and in _enqueued_event: a view calls functions as whoever reads it, who may not call that. Of a run
-- that waited in a line of a lane it is a row all the same.
create or replace view tide.event_log as
select
  e.run_id,
  e.seq,
  e.type,
  e.created_at,
  e.payload
from tide.events as e
union all
select
  r.run_id,
  1,
  'run.enqueued',
  r.created_at,
  jsonb_build_object(
    'workflow', r.workflow,
    'queue', r.queue,
    'priority', r.priority,
    'run_at', concat(to_jsonb(r.run_at at time zone 'UTC') #>> '{}', '+00:00'),
    'max_attempts', r.max_attempts
  )
from tide.runs as r
where r.told_events >= 1
  and (
    r.lane is null
    or (
      select e.seq
      from tide.events as e
      where e.run_id = r.run_id
        and e.seq = 1
    ) is null
  )
union all
select
  r.run_id,
  2,
  'run.claimed',
  r.started_at,
  jsonb_build_object('attempt', r.attempt, 'worker', r.worker)
from tide.runs as r
where r.told_events >= 2
union all
select
  f.run_id,
  3,
  'run.completed',
  f.finished_at,
  jsonb_build_object('attempt', f.attempt)
from tide.runs_finished as f
where f.told_events = 3;

comment on view tide.event_log is
  'What happened to each run: seq 1, 2, 3 without a gap, in commit order; an event never changes.';
