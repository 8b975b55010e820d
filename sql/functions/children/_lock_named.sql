-- With the parent and by run_id, as everything that locks several runs: the fence of the parent and the
-- predecessors, one after the other, would be an order of their own.
create or replace function tide._lock_named(parent_id uuid, children jsonb)
returns void
language plpgsql
volatile
as $$
declare
  v_named text[];
begin
  if jsonb_path_exists(_lock_named.children, '$[*].after[*]') is not true then
    return;
  end if;
  v_named := array(
    select distinct p.named #>> '{}'
    from jsonb_path_query(_lock_named.children, '$[*].after[*]') as p(named)
    where jsonb_typeof(p.named) = 'string'
  );
  perform
  from tide.runs_active as r
  where r.run_id = any (
    array(
      select _lock_named.parent_id
      union
      select e.child_id
      from tide.run_edges as e
      where e.parent_id = _lock_named.parent_id
        and e.edge = any (v_named)
      union
      select tide._as_uuid(u.named)
      from unnest(v_named) as u(named)
    )
  )
  order by r.run_id
  for no key update;
end;
$$;

comment on function tide._lock_named is
  'Lock a run and those its new children come after, by id or edge.';
