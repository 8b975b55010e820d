-- What the insert passes over, because its key or id is taken, is settled one by one, which goes
-- back to keys already passed: so calls that share keys take turns, in the order of their hashes.
-- Ids are inserted in their order, those with one key in the order of the batch.
create or replace function tide.enqueue_many(
  queue text,
  runs jsonb,
  key_hash bytea default null
)
returns table (ordinal integer, run_id uuid, deduplicated boolean)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_now constant timestamptz := tide._now();
  v_queue constant text := tide._valid_name('queue', enqueue_many.queue);
  v_attempts integer;
  v_keys boolean;
  v_ids boolean;
  v_after boolean;
  v_runs tide.new_run[];
  v_run_ids uuid[];
  v_inserted uuid[];
  v_place integer;
  v_answer tide.enqueued;
  v_answers tide.enqueued[];
begin
  if (
      case jsonb_typeof(enqueue_many.runs)
        when 'array' then jsonb_array_length(enqueue_many.runs) <= 100000
      end
    ) is not true
  then
    perform tide._valid_elements('runs', enqueue_many.runs, '{}', 100000);
  end if;
  perform tide._require_queue(v_queue, 'enqueue');
  perform tide._require_read_committed('enqueue_many');
  v_keys := jsonb_path_exists(enqueue_many.runs, '$[*].dedupe_key');
  v_ids := jsonb_path_exists(enqueue_many.runs, '$[*].run_id');
  v_after := jsonb_path_exists(enqueue_many.runs, '$[*].after[*]');
  if v_keys then
    insert into tide.key_turns (key_hash)
    select k.key_hash
    from (
      select distinct
        sha256(convert_to(v_queue || ' ' || (e.element ->> 'dedupe_key'), 'UTF8')) as key_hash
      from jsonb_array_elements(enqueue_many.runs) as e(element)
      where e.element ->> 'dedupe_key' is not null
    ) as k
    order by k.key_hash
    on conflict on constraint key_turns_pkey do nothing;
    -- Only ours are seen. A row inserted and deleted keeps its key until the transaction ends.
    delete from tide.key_turns;
  end if;
  v_attempts := coalesce(
    (
      select q.max_attempts
      from tide.queues as q
      where q.queue = v_queue
    ),
    1
  );
  v_runs := tide._parse_batch(
    v_queue,
    enqueue_many.runs,
    v_now,
    v_attempts,
    requested_by => tide._acting(tide._acting_key(enqueue_many.key_hash))
  );
  if not v_keys and not v_ids then
    v_inserted := tide._insert_runs(v_runs, free => true);
    v_run_ids := v_inserted;
  else
    v_inserted := tide._insert_runs(
      array(
        select v_runs[s.place]
        from generate_subscripts(v_runs, 1) as s(place)
        order by
          (v_runs[s.place]).dedupe_key nulls first,
          case when (v_runs[s.place]).dedupe_key is null then (v_runs[s.place]).run_id end,
          s.place
      ),
      free => false
    );
    v_run_ids := array(
      select n.run_id
      from unnest(v_runs) as n
    );
  end if;
  if jsonb_path_exists(enqueue_many.runs, '$[*].channels') then
    perform tide._add_channels(
      f.run_id,
      enqueue_many.runs -> (f.place - 1)::integer -> 'channels',
      prefix => format('runs[%s].', f.place - 1)
    )
    from (
      -- The same id may come again; its channels are those of the first.
      select distinct on (u.run_id)
        u.run_id,
        u.place
      from unnest(v_run_ids) with ordinality as u(run_id, place)
      where u.run_id = any (v_inserted)
      order by
        u.run_id,
        u.place
    ) as f;
    -- Of those that come after others, _emit tells.
    perform tide._tell(array_agg(i.run_id), array_agg(1), 'run.enqueued')
    from (
      select u.run_id
      from unnest(v_inserted) as u(run_id)
      where not v_after
        or u.run_id in (
          select n.run_id
          from unnest(v_runs) as n
          where n.after_mode is null
        )
    ) as i
    having count(*) > 0;
  end if;
  perform tide._make_ready(v_queue, n.priority, min(n.run_at), count(*)::integer)
  from unnest(v_runs) as n
  where cardinality(v_inserted) > 0
    and n.run_at < tide._soon()
    and n.after_mode is null
  group by n.priority
  order by n.priority desc;

  if cardinality(v_run_ids) > cardinality(v_inserted) then
    for v_place in
      select g.place
      from (
        select
          u.run_id,
          (v_runs[u.place]).dedupe_key,
          u.place,
          row_number() over (partition by u.run_id order by u.place) as repeats
        from unnest(v_run_ids) with ordinality as u(run_id, place)
      ) as g
      -- No joins: the planner knows nothing of the sizes and might read all runs with a key.
      where g.run_id not in (
          select i.run_id
          from unnest(v_inserted) as i(run_id)
        )
        or g.repeats > 1
      order by
        (
          select a.run_id
          from tide.runs_active as a
          where a.queue = v_queue
            and a.dedupe_key = g.dedupe_key
            and a.dedupe_key is not null
            and a.status <> 'pending'
        ) nulls last,
        g.place
    loop
      if (v_runs[v_place]).given_id
        and tide._repeats_run(
          v_run_ids[v_place], (v_runs[v_place]).workflow, (v_runs[v_place]).input
        )
      then
        v_answer := (v_run_ids[v_place], false, null)::tide.enqueued;
      else
        v_answer := tide._enqueue(
          v_runs[v_place], enqueue_many.runs -> (v_place - 1) -> 'channels'
        );
      end if;
      v_answers[v_place] := v_answer;
    end loop;
  end if;

  if v_after then
    perform tide._add_batch_predecessors(v_runs, enqueue_many.runs, v_answers);
  end if;

  return query
  select
    g.ordinality::integer,
    coalesce(v_answers[g.ordinality].run_id, g.run_id),
    coalesce(v_answers[g.ordinality].deduplicated, false)
  from unnest(v_run_ids) with ordinality as g(run_id, ordinality)
  order by g.ordinality;
end;
$$;

comment on function tide.enqueue_many is
  'Queue many runs, all or none: an array of objects with the argument names of enqueue; at most '
  '100000. One row for each, ordinal counted from 1. after may name elements before by their place, from '
  '0. key_hash as enqueue.';
