-- One index gives the order, and the rest is judged row by row: with two conditions in the limited
-- query the planner would read a history for what is rare in it.
create or replace function tide._match_runs(filter tide.run_filter, look integer)
returns table (run_ids uuid[], stopped_at uuid, looked integer)
language plpgsql
stable
as $$
declare
  v_oldest constant uuid := coalesce(
    _match_runs.filter.oldest, '00000000-0000-0000-0000-000000000000'
  );
  v_before constant uuid := coalesce(
    _match_runs.filter.before, 'ffffffff-ffff-ffff-ffff-ffffffffffff'
  );
  v_closed constant text[] := tide._closed_queues();
  v_status constant text := filter.status;
  v_active constant boolean := v_status is null or v_status in ('pending', 'queued', 'running');
  v_finished constant boolean := filter.waiting_on is null
    and (v_status is null or v_status in ('completed', 'failed', 'cancelled'));
  v_people constant text := case
    when filter.waiting_on in ('review', 'budget') then filter.waiting_on
  end;
  v_rare constant text := case when v_status in ('failed', 'cancelled') then v_status end;
  v_workflow constant text := case when v_rare is null then filter.workflow end;
begin
  return query
  with active as materialized (
    select a.*
    from tide._look_at_active(
      v_oldest, v_before, v_people, v_status = 'running', _match_runs.look
    ) as a
    where v_active
  ),
  finished as materialized (
    select f.*
    from tide._look_at_finished(v_oldest, v_before, v_rare, v_workflow, _match_runs.look) as f
    where v_finished
  ),
  edge as (
    -- What an arm did not reach may be newer than what the other one found.
    select greatest(
      (
        select a.run_id
        from active as a
        order by a.run_id desc
        offset _match_runs.look - 1
        limit 1
      ),
      (
        select f.run_id
        from finished as f
        order by f.run_id desc
        offset _match_runs.look - 1
        limit 1
      )
    ) as run_id
  ),
  seen as (
    select a.*
    from active as a
    union all
    select f.*
    from finished as f
  ),
  found as (
    select s.run_id
    from seen as s
    cross join edge as e
    where (e.run_id is null or s.run_id >= e.run_id)
      and (v_status is null or s.status = v_status)
      and (filter.waiting_on is null or s.waiting_on = filter.waiting_on)
      and (filter.queue is null or s.queue = filter.queue)
      and (filter.workflow is null or s.workflow = filter.workflow)
      and (filter.failure_class is null or s.failure_class = filter.failure_class)
      and (filter.metadata is null or s.metadata @> filter.metadata)
      and (filter.error is null or position(lower(filter.error) in lower(s.error::text)) > 0)
      and (filter.finished_after is null or s.finished_at >= filter.finished_after)
      and (filter.finished_before is null or s.finished_at < filter.finished_before)
      and (filter.step is null or tide._failed_at(s.run_id, filter.step))
      and (
        filter.fingerprint is null
        or tide._fingerprint(s.failure_class, tide._failed_step(s.run_id), s.error)
          = filter.fingerprint
      )
      and (s.queue is null or s.queue <> all (v_closed))
  )
  select
    array(
      select f.run_id
      from found as f
      order by f.run_id desc
    ),
    e.run_id,
    (
      select count(*)::integer
      from seen as s
    )
  from edge as e;
end;
$$;

comment on function tide._match_runs is
  'Runs that match, newest first, among the newest so many of each partition; stopped_at = the last '
  'run looked at when there may be more below.';
