"""SQL that fills a database: jobs to be taken, a backlog beside them, a history behind them."""

from __future__ import annotations

from typing import Final

RAW: Final = """
insert into q (payload) select jsonb_build_object('i', n) from generate_series(1, {count}) as n
"""
TIDE: Final = """
select count(*)
from generate_series(0, {count} - 1, 10000) as first,
  lateral tide.enqueue_many(
    'bench',
    (
      select jsonb_agg(
        jsonb_build_object('workflow', 'noop', 'input', jsonb_build_object('i', n))
      )
      from generate_series(first + 1, least(first + 10000, {count})) as n
    )
  )
"""

# Of a backlog every tenth is ready, in the order of the rows; the rest lies in the future, between
# them and in no order.
BACKLOG_RAW: Final = """
insert into q (payload, run_at)
select
  jsonb_build_object('i', n),
  now() + case when n % 10 = 0 then interval '-1 hour' else interval '1 day' end
from generate_series(1, {count}) as n
order by md5(n::text)
"""
QUEUED: Final = """
insert into tide.runs_active (
  run_id, workflow, queue, status, last_seq, ready, run_at, created_at, input
)
select
  uuidv7(), 'noop', 'bench', 'queued', 1, n % 10 = 0,
  now() + case
    when n % 10 = 0 then interval '-1 hour'
    else interval '1 day' + n * interval '1 ms'
  end,
  now(), jsonb_build_object('i', n)
from generate_series(1, {count}) as n
order by md5(n::text)
"""
PARKED: Final = """
insert into tide.runs_active (
  run_id, workflow, queue, status, run_at, created_at, waiting_on, waiting_for, last_seq,
  open_gates
)
select
  md5('run' || n)::uuid, 'noop', 'bench', 'queued', null, now(), 'gate',
  md5('gate' || n)::uuid::text, 1, 1
from generate_series(1, {count}) as n
"""
GATES: Final = """
insert into tide.gates (
  run_id, name, gate_id, status, prompt, data, expires_at, on_timeout, created_at
)
select
  md5('run' || n)::uuid, 'approve', md5('gate' || n)::uuid, 'pending', 'Go on?', '{{}}',
  now() + interval '1 day' + n * interval '1 second', 'rejected',
  now() - interval '1 hour' + n * interval '1 ms'
from generate_series(1, {count}) as n
"""
LANES: Final = """
select count(tide.set_lane(lane, '{{"total": 5}}'))
from unnest(array['shared', 'keyed'] || array(
  select 'idle-' || n from generate_series(1, 20) as n
)) as lane
"""
LANED: Final = """
with made as (
  insert into tide.runs_active (
    run_id, workflow, queue, status, run_at, created_at, waiting_on, waiting_for, last_seq,
    lane, lane_key
  )
  select
    md5(l.lane || n)::uuid, 'noop', 'laned', 'queued', null, now(), 'lane', l.lane, 1,
    l.lane, 'key ' || n % 50
  from generate_series(1, {count}) as n, (values ('shared'), ('keyed')) as l(lane)
  returning run_id, lane, lane_key
)
insert into tide.lane_waits (run_id, lane, lane_key, priority, run_at, queue, run_key)
select
  m.run_id, m.lane, case m.lane when 'keyed' then m.lane_key else '' end, 0, now(),
  case m.lane when 'keyed' then 'laned' end, case m.lane when 'shared' then m.lane_key end
from made as m
"""

# History: number n ended n seconds after the first, long ago, and its id sorts with it. Of its
# three events, the last is a row unless the run completed, as with runs the functions ended.
RUN_ID: Final = "('01900000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid"
FINISHED: Final = f"""
insert into tide.runs_finished (
  run_id, workflow, queue, status, attempt, last_seq, told_events, worker, input, run_at,
  created_at, started_at, finished_at
)
select
  {RUN_ID}, 'noop', 'bench', (array['completed', 'failed', 'cancelled'])[n % 3 + 1], 1, 3,
  case when n % 3 = 0 then 3 else 2 end, 'bench', '{{{{"i": 1}}}}', t.at, t.at, t.at, t.at
from generate_series({{first}}, {{last}}) as n,
  lateral (select now() - interval '400 days' + n * interval '1 second') as t (at)
"""
EVENTS: Final = f"""
insert into tide.events (run_id, seq, type, created_at, payload)
select
  {RUN_ID}, 3, 'run.' || (array['failed', 'cancelled'])[n % 3],
  now() - interval '400 days' + n * interval '1 second', '{{{{}}}}'
from generate_series({{first}}, {{last}}) as n
where n % 3 > 0
"""
HISTORY: Final = {"runs_finished": FINISHED, "events": EVENTS}
"""What is written into which table for runs that ended."""
