-- The only way into runs_active, and to run_inputs for what is new. Where nothing can be in the way
-- it is not looked for: that takes a lock and a record of the log for each row.
create or replace function tide._insert_runs(runs tide.new_run[], free boolean)
returns uuid[]
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
  v_inserted uuid[];
  v_apart boolean;
  v_laned boolean;
  v_keyed boolean;
  v_ended uuid[];
begin
  if free then
    insert into tide.runs_active
    select r.*
    from tide._first_rows(_insert_runs.runs, v_now) as r;
    -- Most runs come alone, and nothing goes with them.
    if cardinality(runs) = 1
      and (runs[1]).lane is null
      and not tide._lies_apart((runs[1]).input)
    then
      return array[(runs[1]).run_id];
    end if;
    select
      coalesce(array_agg(n.run_id), '{}'),
      bool_or(tide._lies_apart(n.input)),
      bool_or(n.lane is not null)
    into
      v_inserted,
      v_apart,
      v_laned
    from unnest(_insert_runs.runs) as n;
  else
    with inserted as (
      insert into tide.runs_active as a
      select r.*
      from tide._first_rows(_insert_runs.runs, v_now) as r
      on conflict do nothing
      returning
        a.run_id,
        a.input,
        a.lane,
        a.dedupe_key
    )
    select
      coalesce(array_agg(i.run_id), '{}'),
      bool_or(i.input is null),
      bool_or(i.lane is not null),
      bool_or(i.dedupe_key is not null)
    into
      v_inserted,
      v_apart,
      v_laned,
      v_keyed
    from inserted as i;
    if v_keyed then
      v_ended := tide._take_keys(_insert_runs.runs, v_inserted);
    end if;
    if cardinality(runs) > 1 or (runs[1]).given_id then
      -- A run with a given id may have ended while the insert waited for its active row: a statement
      -- with a newer snapshot sees it. Not exists would be a join, with all of the history maybe.
      v_ended := v_ended || array(
        select i.run_id
        from unnest(v_inserted) as i(run_id)
        where i.run_id = (
            select f.run_id
            from tide.runs_finished as f
            where f.run_id = i.run_id
          )
      );
    end if;
    if cardinality(v_ended) > 0 then
      delete from tide.runs_active as r
      where r.run_id = any (v_ended);
      v_inserted := array(
        select i.run_id
        from unnest(v_inserted) as i(run_id)
        where i.run_id not in (
            select e.run_id
            from unnest(v_ended) as e(run_id)
          )
      );
    end if;
  end if;
  if v_apart then
    -- The same id may come twice.
    insert into tide.run_inputs (run_id, input)
    select
      n.run_id,
      n.input
    from unnest(_insert_runs.runs) as n
    where tide._lies_apart(n.input)
      and (
        _insert_runs.free
        or n.run_id in (
          select i.run_id
          from unnest(v_inserted) as i(run_id)
        )
      )
    on conflict on constraint run_inputs_pkey do nothing;
  end if;
  if v_laned then
    perform tide._add_lanes(n.run_id, n.also_lanes)
    from unnest(_insert_runs.runs) as n
    where n.also_lanes is not null
      and n.run_id = any (v_inserted);
    perform tide._line_up(v_inserted);
  end if;
  return v_inserted;
end;
$$;

comment on function tide._insert_runs is
  'Insert active runs with their inputs, in their order, and return the ids of those nothing was in '
  'the way of. free = none has a dedupe key or an id its caller made, so nothing can be.';
