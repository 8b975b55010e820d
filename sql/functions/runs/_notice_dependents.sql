create or replace function tide._notice_dependents(max_runs integer)
returns integer
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
  v_run_id uuid := tide._lowest_id();
  v_run tide.runs;
  v_noticed integer := 0;
begin
  -- One probe for each run: one that somebody holds, with many marks, hides no other.
  for v_round in 1 .. 10 * max_runs loop
    select p.run_id
    into v_run_id
    from tide.predecessors as p
    where not p.noticed
      and p.run_id > v_run_id
    order by p.run_id
    limit 1;
    exit when not found or v_noticed >= max_runs;
    continue when tide._is_set_aside('dependents', v_run_id::text, v_now);
    v_run := (
      select r::tide.runs
      from tide.runs_active as r
      where r.run_id = v_run_id
      for no key update skip locked
    );
    -- Somebody holds the run: its marks stay for the next tick. Gone: they go as well.
    if v_run.run_id is not null or not exists (
      select
      from tide.runs_active as r
      where r.run_id = v_run_id
    ) then
      v_noticed := v_noticed + 1;
      -- One run that cannot be judged must not keep the others waiting.
      begin
        -- Marks go before the look: an end between the two leaves a mark that stays.
        update tide.predecessors as p
        set noticed = true
        where p.run_id = v_run_id
          and not p.noticed;
        if v_run.waiting_on = 'after' then
          perform tide._judge_dependent(v_run, may_end => true);
        end if;
      exception
        when others then
          perform tide._set_aside('dependents', v_run_id::text, sqlerrm, sqlstate);
      end;
    end if;
  end loop;
  return v_noticed;
end;
$$;

comment on function tide._notice_dependents is
  'Look again at runs that come after others: make ready or end those whose turn an end decided without '
  'having them; returns how many were looked at.';
