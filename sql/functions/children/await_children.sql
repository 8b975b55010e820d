create or replace function tide.await_children(
  run_id uuid,
  lease_id uuid,
  edges text[] default null,
  mode text default 'all'
)
returns table (
  parked boolean,
  edge text,
  child_id uuid,
  status text,
  result jsonb,
  error jsonb
)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_run constant tide.runs := tide._hold(await_children.run_id, await_children.lease_id);
  v_missing text;
begin
  perform tide._require_read_committed('await_children');
  if await_children.mode is null
    or await_children.mode not in ('all', 'any', 'fail_fast')
  then
    raise exception 'mode is not known: %',
        coalesce(quote_literal(left(await_children.mode, 200)), 'null')
      using errcode = '22023',
            hint = 'Give all, any or fail_fast.';
  end if;
  select a.edge
  into v_missing
  from unnest(await_children.edges) as a(edge)
  where not exists (
    select
    from tide.run_edges as e
    where e.parent_id = v_run.run_id
      and e.edge = a.edge
  )
  order by a.edge
  limit 1;
  if found then
    raise exception 'run % has no child %', v_run.run_id, coalesce(quote_literal(v_missing), 'null')
      using errcode = 'TD010',
            hint = 'Spawn a child before waiting for it.';
  end if;

  -- In the order in which children that end together lock their edges.
  perform
  from tide.run_edges as e
  where e.parent_id = v_run.run_id
    and e.awaited is distinct from (
      await_children.edges is null or e.edge = any (await_children.edges)
    )
  order by e.child_id
  for no key update;
  update tide.run_edges as e
  set awaited = await_children.edges is null or e.edge = any (await_children.edges)
  where e.parent_id = v_run.run_id
    and e.awaited is distinct from (
      await_children.edges is null or e.edge = any (await_children.edges)
    );
  -- A later statement: a child that ended while its edge was being marked is seen here.
  if not tide._children_suffice(v_run.run_id, await_children.mode) then
    perform tide._refuse_overdue(v_run);
    perform tide._park(v_run, 'children', await_children.mode);
    return query
    select true, null::text, null::uuid, null::text, null::jsonb, null::jsonb;
    return;
  end if;
  return query
  select
    false,
    e.edge,
    e.child_id,
    r.status,
    r.result,
    r.error
  from tide.run_edges as e
  join tide.runs as r on r.run_id = e.child_id
  where e.parent_id = v_run.run_id
    and e.awaited
  order by
    e.created_at,
    e.child_id;
end;
$$;

comment on function tide.await_children is
  'Children of a leased run that ended, or park the run until they have (parked = true: drop it): all, '
  'any, or fail_fast = all unless one fails. edges null = every child. In modes any and fail_fast '
  'children still active are among the rows.';
