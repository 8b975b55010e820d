create or replace function tide._follow_cascades(max_runs integer)
returns integer
language plpgsql
volatile
as $$
declare
  v_parent_id uuid;
  v_handled integer := 0;
begin
  for v_parent_id in
    select c.parent_id
    from tide.cascades as c
    order by c.created_at
    -- Those whose children somebody holds must not keep others from their turn.
    limit 1000
  loop
    exit when v_handled >= 10 * max_runs;
    v_handled := v_handled + tide._cancel_children(v_parent_id, max_runs);
    -- A cascade that went counts as well: behind it others may wait for their turn.
    if not exists (
      select
      from tide.cascades as c
      where c.parent_id = v_parent_id
    ) then
      v_handled := v_handled + 1;
    end if;
  end loop;
  return v_handled;
end;
$$;

comment on function tide._follow_cascades is
  'Cancel children of cancelled runs, a batch of each; returns 0 when there is nothing left to do.';
