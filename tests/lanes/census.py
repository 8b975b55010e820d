"""Whether places in lanes, the runs that hold them and those that wait say the same."""

from __future__ import annotations

from tests.support import Connection, value

IN_STEP = """
    with held as (
      select r.lane, '' as lane_key, r.lane_slot as slot, r.run_id
      from tide.runs_active as r
      where r.lane_slot is not null
      union all
      select r.lane, r.lane_key, r.lane_key_slot, r.run_id
      from tide.runs_active as r
      where r.lane_key_slot is not null
      union all
      select o.lane, '', o.lane_slot, o.run_id
      from tide.run_lanes as o
      where o.lane_slot is not null
      union all
      select o.lane, o.lane_key, o.lane_key_slot, o.run_id
      from tide.run_lanes as o
      where o.lane_key_slot is not null
    ), turns as (
      select r.lane, coalesce(r.lane_key, '') as lane_key, r.turn_at, r.run_id, r.queue
      from tide.runs_active as r
      where r.turn_at is not null
      union all
      select r.lane, coalesce(r.lane_key, ''), w.run_at, r.run_id, r.queue
      from tide.lane_waits as w
      join tide.runs_active as r on r.run_id = w.run_id
      where w.due_at is not null
    ), places as (
      select s.lane, s.lane_key, s.slot, s.run_id
      from tide.lane_slots as s
      where s.run_id is not null
    )
    select not exists (
      (select * from held except select * from places)
      union all (select * from places except select * from held)
    ) and not exists (
      (select * from turns except select * from tide.lane_heads)
      union all (select * from tide.lane_heads except select * from turns)
    ) and not exists (
      (
        select w.run_id from tide.lane_waits as w
        except
        select r.run_id from tide.runs_active as r where r.waiting_on in ('lane', 'provider')
      )
      union all (
        select r.run_id from tide.runs_active as r where r.waiting_on in ('lane', 'provider')
        except
        select w.run_id from tide.lane_waits as w
      )
    ) and not exists (
      select
      from tide.run_lanes as o
      left join tide.runs_active as r on r.run_id = o.run_id
      where o.held <> coalesce(r.status = 'running' or r.dispatched_until is not null, false)
        and (o.held or o.step = '')
        or o.step <> '' and r.run_id is null
        or r.lane is null and r.run_id is not null
    )
    """


def in_step(connection: Connection) -> bool:
    """Places and turns are held by the runs that say so, and whoever waits is parked."""
    return bool(value(connection, IN_STEP))
