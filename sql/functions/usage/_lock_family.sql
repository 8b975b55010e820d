-- By run_id, as settle locks the runs of a batch, and again until nobody new is found: a descendant
-- not locked yet may spawn. Waiting is safe: no descendant ever waits for an ancestor's row.
create or replace function tide._lock_family(run_id uuid)
returns uuid[]
language plpgsql
volatile
as $$
declare
  v_family uuid[] := array[]::uuid[];
  v_found uuid[];
begin
  loop
    v_found := array(
      with recursive family as (
        select _lock_family.run_id as run_id
        union
        select e.child_id
        from family as f
        join tide.run_edges as e on e.parent_id = f.run_id
      )
      select r.run_id
      from family as f
      join tide.runs_active as r on r.run_id = f.run_id
      where r.run_id <> all (v_family)
      order by r.run_id
      for no key update of r
    );
    exit when cardinality(v_found) = 0;
    v_family := v_family || v_found;
  end loop;
  return v_family;
end;
$$;

comment on function tide._lock_family is
  'Lock a run and its descendants, as far as they are active, and return their ids.';
