-- What the insert passes over, because its key or id is taken, is settled one by one, which goes
-- back to keys already passed: so calls that share keys take turns, in the order of their hashes.
-- Ids are inserted in their order, those with one key in the order of the batch.
create or replace function tide.enqueue_many(queue text, runs jsonb)
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
  v_soon constant timestamptz := tide._soon();
  v_queue constant text := tide._valid_name('queue', enqueue_many.queue);
  -- Ids that are not given come out of this one.
  v_first constant text := tide._uuid7()::text;
  v_attempts integer;
  v_keys boolean;
  v_given boolean;
  v_run_ids uuid[];
  v_inserted uuid[];
  v_soon_ready integer;
  v_earliest timestamptz;
  v_rest record;
  v_run tide.runs;
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
  v_given := jsonb_path_exists(enqueue_many.runs, '$[*].run_id');
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
  if not v_keys and not v_given then
    select
      f.run_ids,
      f.soon_ready,
      f.earliest
    into
      v_run_ids,
      v_soon_ready,
      v_earliest
    from tide._insert_free(v_queue, enqueue_many.runs, v_first, v_now, v_attempts) as f;
    v_inserted := v_run_ids;
  else
    with given as materialized (
      select
        g.*,
        coalesce(g.run_id, tide._batch_uuid7(v_first, g.ordinal)) as new_id
      from tide._parse_batch(enqueue_many.runs, v_now, v_attempts) as g
    ),
    inserted as (
      insert into tide.runs_active as r (
        run_id, workflow, queue, status, dedupe_key, priority, max_attempts, last_seq,
        told_events, ready, run_at, created_at, deadline_at, input, metadata, backoff, deadline,
        budget
      )
      select
        g.new_id,
        g.workflow,
        v_queue,
        'queued',
        g.dedupe_key,
        g.priority,
        g.max_attempts,
        1,
        1,
        g.run_at <= v_now,
        g.run_at,
        v_now,
        v_now + g.deadline,
        g.input,
        g.metadata,
        g.backoff,
        g.deadline,
        g.budget
      from given as g
      order by
        g.dedupe_key nulls first,
        case when g.dedupe_key is null then g.run_id end,
        g.ordinal
      on conflict do nothing
      returning r.run_id
    )
    select
      array_agg(g.new_id order by g.ordinal),
      count(*) filter (where g.run_at < v_soon),
      min(g.run_at),
      (
        select array_agg(i.run_id)
        from inserted as i
      )
    into
      v_run_ids,
      v_soon_ready,
      v_earliest,
      v_inserted
    from given as g;
  end if;
  if v_given then
    -- A run with a given id may have ended while the insert waited for its active row: a statement
    -- with a newer snapshot sees it. Not exists would be a join, with all of the history maybe.
    select array_agg(i.run_id)
    into v_inserted
    from unnest(v_inserted) as i(run_id)
    where (
        select f.run_id
        from tide.runs_finished as f
        where f.run_id = i.run_id
      ) is null
      or not (
        select tide._made_before(r.run_id, r.workflow, r.input, inserted => true)
        from tide.runs_active as r
        where r.run_id = i.run_id
      );
  end if;
  if v_inserted is not null
    and jsonb_path_exists(enqueue_many.runs, '$[*].channels')
  then
    perform tide._add_channels(
      f.run_id, f.element -> 'channels', prefix => format('runs[%s].', f.ordinality - 1)
    )
    from (
      -- The same id may come again; its channels are those of the first.
      select distinct on (u.run_id)
        u.run_id,
        e.element,
        e.ordinality
      from jsonb_array_elements(enqueue_many.runs) with ordinality as e(element, ordinality)
      join unnest(v_run_ids) with ordinality as u(run_id, ordinality)
        on u.ordinality = e.ordinality
      where e.element ? 'channels'
        and u.run_id = any (v_inserted)
      order by
        u.run_id,
        e.ordinality
    ) as f;
    perform tide._tell(
      v_inserted, array_fill(1, array[cardinality(v_inserted)]), 'run.enqueued'
    );
  end if;
  if v_inserted is not null then
    perform tide._wake_workers(v_queue, v_soon_ready);
  end if;
  if v_earliest < v_now then
    perform tide._lower_floor(r.queue, r.priority, min(r.run_at), tide._lowest_id())
    from tide.runs_active as r
    where r.run_id = any (v_inserted)
      and r.run_at < v_now
    group by
      r.queue,
      r.priority;
  end if;

  if cardinality(v_run_ids) > coalesce(cardinality(v_inserted), 0) then
    for v_rest in
      select
        g.ordinal,
        g.given_id,
        g.new_id,
        g.workflow,
        g.input,
        g.metadata,
        g.dedupe_key,
        g.priority,
        g.max_attempts,
        g.run_at,
        g.deadline,
        g.backoff,
        g.budget,
        g.on_conflict,
        g.channels
      from (
        select
          p.*,
          p.run_id is not null as given_id,
          v_run_ids[p.ordinal] as new_id,
          row_number() over (partition by v_run_ids[p.ordinal] order by p.ordinal) as repeats
        from tide._parse_batch(enqueue_many.runs, v_now, v_attempts) as p
      ) as g
      -- No joins: the planner knows nothing of the sizes and might read all runs with a key.
      where g.new_id not in (
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
        g.ordinal
    loop
      v_run := null;
      v_run.run_id := v_rest.new_id;
      v_run.workflow := v_rest.workflow;
      v_run.queue := v_queue;
      v_run.dedupe_key := v_rest.dedupe_key;
      v_run.priority := v_rest.priority;
      v_run.max_attempts := v_rest.max_attempts;
      v_run.ready := v_rest.run_at <= v_now;
      v_run.run_at := v_rest.run_at;
      v_run.created_at := v_now;
      v_run.deadline := v_rest.deadline;
      v_run.deadline_at := v_now + v_rest.deadline;
      v_run.input := v_rest.input;
      v_run.metadata := v_rest.metadata;
      v_run.backoff := v_rest.backoff;
      v_run.budget := v_rest.budget;
      if v_rest.given_id
        and tide._made_before(v_run.run_id, v_run.workflow, v_run.input, inserted => false)
      then
        v_answer := (v_run.run_id, false, null)::tide.enqueued;
      else
        v_answer := tide._enqueue(
          v_run, v_rest.on_conflict, v_rest.given_id, v_rest.channels
        );
      end if;
      v_answers[v_rest.ordinal] := v_answer;
    end loop;
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
  '100000. One row for each, ordinal counted from 1.';
