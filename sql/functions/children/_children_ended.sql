-- Nobody waits for the parent's row here: a thousand children may end at once. The one that sees no
-- other awaited child wakes the parent if it can have the row; two that end at the same instant do
-- not see each other, and the mark they leave lets the next tick look again. Not "is null": then the
-- index of open edges would fit, and a plan made while they were few would read them all.
create or replace function tide._children_ended(run_ids uuid[], status text)
returns void
language plpgsql
volatile
as $$
declare
  v_parent_id uuid;
begin
  if cardinality(run_ids) > 1 then
    -- In the order in which a parent marks the edges it waits for.
    perform
    from tide.run_edges as e
    where e.child_id = any (_children_ended.run_ids)
      and coalesce(e.child_status, 'active') = 'active'
    order by e.child_id
    for no key update;
  end if;
  for v_parent_id in
    with ended as (
      update tide.run_edges as e
      set
        child_status = _children_ended.status,
        noticed = not e.awaited
      where e.child_id = any (_children_ended.run_ids)
        and coalesce(e.child_status, 'active') = 'active'
      returning
        e.parent_id,
        e.awaited
    )
    select distinct d.parent_id
    from ended as d
    where d.awaited
  loop
    if not tide._wake_parent(v_parent_id) then
      -- Another end that is not seen yet may be the last one: an idle worker looks after both.
      perform tide._wake_workers(r.queue, 1)
      from tide.runs_active as r
      where r.run_id = v_parent_id
        and r.waiting_on = 'children'
        and r.queue is not null;
    end if;
  end loop;
end;
$$;

comment on function tide._children_ended is
  'Note on their edges that children ended, and wake parents that waited for them.';
