create or replace function tide._begin_cascade(run_ids uuid[], reason text, actor text)
returns void
language plpgsql
volatile
as $$
begin
  insert into tide.cascades (parent_id, reason, actor, created_at)
  select
    p.run_id,
    _begin_cascade.reason,
    _begin_cascade.actor,
    tide._now()
  from unnest(_begin_cascade.run_ids) as p(run_id)
  where exists (
    select
    from tide.run_edges as e
    where e.parent_id = p.run_id
      and e.child_status is null
      and not e.detached
  )
  on conflict on constraint cascades_pkey do nothing;
end;
$$;

comment on function tide._begin_cascade is
  'Remember that the children of cancelled or failed runs have to follow, later: in this transaction '
  'they would deadlock with a child that completes.';
