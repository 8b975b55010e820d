create or replace function tide._cancel_children(parent_id uuid, max_runs integer)
returns integer
language plpgsql
volatile
as $$
declare
  v_cascade tide.cascades;
  v_run_ids uuid[];
  v_failed boolean;
begin
  v_cascade := (
    select c
    from tide.cascades as c
    where c.parent_id = _cancel_children.parent_id
    for no key update skip locked
  );
  if v_cascade.parent_id is null then
    return 0;
  end if;
  -- What a child of a failed parent has begun it ends: it may be paid for already.
  v_failed := exists (
    select
    from tide.runs_finished as p
    where p.run_id = v_cascade.parent_id
      and p.status = 'failed'
  );
  v_run_ids := array(
    select r.run_id
    from tide.run_edges as e
    join tide.runs_active as r on r.run_id = e.child_id
    where e.parent_id = v_cascade.parent_id
      and e.child_status is null
      and not e.detached
      and (not v_failed or r.started_at is null)
    order by e.edge
    limit _cancel_children.max_runs
    for no key update of r skip locked
  );
  if cardinality(v_run_ids) > 0 then
    perform tide._finish(
      v_run_ids,
      'cancelled',
      reason => coalesce(v_cascade.reason, 'parent cancelled'),
      actor => v_cascade.actor
    );
  elsif not exists (
    select
    from tide.run_edges as e
    join tide.runs_active as r on r.run_id = e.child_id
    where e.parent_id = v_cascade.parent_id
      and e.child_status is null
      and not e.detached
      and (not v_failed or r.started_at is null)
  ) then
    delete from tide.cascades as c
    where c.parent_id = v_cascade.parent_id;
  end if;
  return cardinality(v_run_ids);
end;
$$;

comment on function tide._cancel_children is
  'Cancel some children of a cancelled run, or of a failed one those that have not begun, and return '
  'how many; those that are locked come later.';
