create or replace function tide._notice_children(max_parents integer)
returns integer
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
  v_parent_id uuid := tide._lowest_id();
  v_noticed integer := 0;
begin
  -- One probe for each parent: one that somebody holds, with many marks, hides no other.
  for v_round in 1 .. 10 * max_parents loop
    select e.parent_id
    into v_parent_id
    from tide.run_edges as e
    where not e.noticed
      and e.parent_id > v_parent_id
    order by e.parent_id
    limit 1;
    exit when not found or v_noticed >= max_parents;
    continue when tide._is_set_aside('ended_children', v_parent_id, v_now);
    perform
    from tide.runs_active as r
    where r.run_id = v_parent_id
    for no key update skip locked;
    -- Somebody holds the parent: its marks stay for the next tick. Gone: they go as well.
    if found or not exists (
      select
      from tide.runs_active as r
      where r.run_id = v_parent_id
    ) then
      v_noticed := v_noticed + 1;
      -- One parent that cannot be woken must not keep the others waiting.
      begin
        -- Marks go before the look: a child that ends between the two leaves a mark that stays.
        update tide.run_edges as e
        set noticed = true
        where e.parent_id = v_parent_id
          and not e.noticed;
        perform tide._wake_parent(v_parent_id);
      exception
        when others then
          perform tide._set_aside('ended_children', v_parent_id::text, sqlerrm, sqlstate);
      end;
    end if;
  end loop;
  return v_noticed;
end;
$$;

comment on function tide._notice_children is
  'Look again at parents whose children ended at the same instant; returns how many were looked at.';
