create or replace function tide._children_suffice(parent_id uuid, mode text)
returns boolean
language plpgsql
volatile
as $$
begin
  if not exists (
    select
    from tide.run_edges as e
    where e.parent_id = _children_suffice.parent_id
      and e.awaited
      and e.child_status is null
  ) then
    return true;
  elsif mode = 'any' then
    return exists (
      select
      from tide.run_edges as e
      where e.parent_id = _children_suffice.parent_id
        and e.awaited
        and e.child_status is not null
    );
  elsif mode = 'fail_fast' then
    return exists (
      select
      from tide.run_edges as e
      where e.parent_id = _children_suffice.parent_id
        and e.awaited
        and e.child_status in ('failed', 'cancelled')
    );
  end if;
  return false;
end;
$$;

comment on function tide._children_suffice is
  'Whether the awaited children of a run have ended: all of them, any, or one failed (fail_fast).';
