create or replace function tide.cancel_many(
  queue text default null,
  workflow text default null,
  metadata jsonb default null,
  reason text default null,
  actor text default null,
  max_runs integer default 1000
)
returns bigint
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
as $$
declare
  v_reason constant text := tide._valid_note('reason', cancel_many.reason);
  v_actor constant text := tide._valid_note('actor', cancel_many.actor);
  v_limit constant integer := tide._valid_integer(
    'max_runs', cancel_many.max_runs, 1, 100000
  );
  v_closed constant text[] := tide._closed_queues();
  v_run_ids uuid[];
begin
  perform tide._require_read_committed('cancel_many');
  if cancel_many.queue is null
    and cancel_many.workflow is null
    and coalesce(cancel_many.metadata, '{}') = '{}'
  then
    raise exception 'queue, workflow and metadata are all null or empty'
      using errcode = '22023',
            hint = 'Name at least one, so that nobody cancels everything by a slip.';
  end if;
  v_run_ids := array(
    select r.run_id
    from tide.runs_active as r
    where (r.queue is null or r.queue <> all (v_closed))
      and (cancel_many.queue is null or r.queue = cancel_many.queue)
      and (cancel_many.workflow is null or r.workflow = cancel_many.workflow)
      and (cancel_many.metadata is null or r.metadata @> cancel_many.metadata)
    order by r.run_id
    limit v_limit
    for no key update skip locked
  );
  if cardinality(v_run_ids) > 0 then
    perform tide._finish(v_run_ids, 'cancelled', reason => v_reason, actor => v_actor);
  end if;
  return cardinality(v_run_ids);
end;
$$;

comment on function tide.cancel_many is
  'Cancel active runs by queue, workflow and contained metadata, oldest first, and return how many. '
  'Passes over runs another transaction holds: repeat until it returns 0.';
