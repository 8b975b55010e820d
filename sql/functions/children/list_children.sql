create or replace function tide.list_children(run_id uuid)
returns table (
  edge text,
  child_id uuid,
  edge_type text,
  workflow text,
  status text,
  detached boolean,
  created_at timestamptz
)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
begin
  perform tide._require_run(list_children.run_id);
  perform tide._find_run(list_children.run_id);
  return query
  select
    e.edge,
    e.child_id,
    e.edge_type,
    r.workflow,
    r.status,
    e.detached,
    e.created_at
  from tide.run_edges as e
  join tide.runs as r on r.run_id = e.child_id
  where e.parent_id = list_children.run_id
  order by
    e.created_at,
    e.child_id;
end;
$$;

comment on function tide.list_children is 'The children of a run, oldest first; unknown run: TD010.';
