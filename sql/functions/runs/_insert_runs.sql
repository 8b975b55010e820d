-- The only way into runs_active. Where nothing can be in the way it is not looked for: that takes a
-- lock and a record of the log for each row.
create or replace function tide._insert_runs(runs tide.new_run[], free boolean)
returns uuid[]
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
  v_inserted uuid[];
begin
  if free then
    insert into tide.runs_active
    select r.*
    from tide._first_rows(_insert_runs.runs, v_now) as r;
    if cardinality(runs) = 1 then
      return array[(runs[1]).run_id];
    end if;
    return array(
      select n.run_id
      from unnest(_insert_runs.runs) as n
    );
  end if;
  -- Of one run the row count says it, without a query around the insert.
  if cardinality(runs) = 1 then
    insert into tide.runs_active
    select r.*
    from tide._first_rows(_insert_runs.runs, v_now) as r
    on conflict do nothing;
    return case when found then array[(runs[1]).run_id] else array[]::uuid[] end;
  end if;
  with inserted as (
    insert into tide.runs_active as a
    select r.*
    from tide._first_rows(_insert_runs.runs, v_now) as r
    on conflict do nothing
    returning a.run_id
  )
  select coalesce(array_agg(i.run_id), '{}')
  into v_inserted
  from inserted as i;
  return v_inserted;
end;
$$;

comment on function tide._insert_runs is
  'Insert active runs, in their order, and return the ids of those nothing was in the way of. free = '
  'none has a dedupe key or an id its caller made, so nothing can be.';
