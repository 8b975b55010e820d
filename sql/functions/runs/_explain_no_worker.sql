create or replace function tide._explain_no_worker(run tide.runs, now timestamptz)
returns jsonb
language plpgsql
stable
as $$
declare
  v_served text[];
begin
  select array_agg(distinct n.workflow order by n.workflow)
  into v_served
  from tide.workers as w
  cross join lateral unnest(w.workflows) as n(workflow)
  where w.seen_at > _explain_no_worker.now - interval '1 minute'
    and run.queue = any (w.queues)
    and split_part(n.workflow, '@', 1) = split_part(run.workflow, '@', 1);
  if v_served is null then
    return tide._reason(
      'no_worker', 'no named worker claimed this queue and workflow within the last minute'
    );
  end if;
  return tide._reason(
    'other_version',
    'workers of its queue serve other versions of the workflow only',
    jsonb_build_object('workflow', run.workflow, 'served', v_served)
  );
end;
$$;

comment on function tide._explain_no_worker is
  'The reason no_worker, or other_version with the versions served, where no worker claims what the '
  'run is.';
