-- What the insert passes over, because its key or id is taken, is settled one by one, which goes back
-- to keys already passed: so calls that share keys take turns, by locks on 1024 buckets of keys. Ids
-- are inserted in their order, and runs to be replaced locked in the order of settle.
create or replace function tide.enqueue_many(queue text, runs jsonb)
returns table (ordinal integer, run_id uuid, deduplicated boolean)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
declare
  v_runs constant tide.runs[] := tide._parse_runs(
    tide._valid_name('queue', enqueue_many.queue), enqueue_many.runs
  );
  v_inserted uuid[];
  v_payloads jsonb[];
  v_ended uuid[];
  v_rest record;
  v_run tide.runs;
  v_answer tide.enqueued;
  v_answers tide.enqueued[];
begin
  perform tide._require_queue(enqueue_many.queue, 'enqueue');
  perform tide._require_read_committed('enqueue_many');
  perform pg_advisory_xact_lock(1953064041, b.bucket)
  from (
    select distinct hashtext(g.dedupe_key) & 1023 as bucket
    from unnest(v_runs) as g
    where g.dedupe_key is not null
    order by hashtext(g.dedupe_key) & 1023
  ) as b;
  with inserted as (
    insert into tide.runs_active as r (
      run_id, workflow, queue, status, dedupe_key, priority, max_attempts, last_seq, ready,
      run_at, created_at, deadline_at, input, metadata, backoff, deadline, budget
    )
    select
      g.run_id,
      g.workflow,
      g.queue,
      'queued',
      g.dedupe_key,
      g.priority,
      g.max_attempts,
      1,
      g.ready,
      g.run_at,
      g.created_at,
      g.deadline_at,
      g.input,
      g.metadata,
      g.backoff,
      g.deadline,
      g.budget
    from unnest(v_runs) with ordinality as g
    order by g.dedupe_key nulls first, g.run_id, g.ordinality
    on conflict do nothing
    returning
      r.run_id,
      tide._enqueued_payload(r) as payload
  )
  select
    array_agg(i.run_id),
    array_agg(i.payload)
  into v_inserted, v_payloads
  from inserted as i;
  -- A run with a given id may have ended while the insert waited for its active row: a statement
  -- with a newer snapshot sees it.
  v_ended := array(
    select f.run_id
    from jsonb_array_elements(enqueue_many.runs) as e(element)
    join tide.runs_finished as f on f.run_id = (e.element ->> 'run_id')::uuid
    where e.element ? 'run_id'
  );
  if cardinality(v_ended) > 0 then
    perform tide._made_before(g.run_id, g.workflow, g.input, inserted => true)
    from unnest(v_runs) as g
    where g.run_id = any (v_ended)
      and g.run_id = any (v_inserted);
    select
      array_agg(i.run_id),
      array_agg(i.payload)
    into v_inserted, v_payloads
    from unnest(v_inserted, v_payloads) as i(run_id, payload)
    where i.run_id <> all (v_ended);
  end if;
  if v_inserted is not null then
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
      join unnest(v_runs) with ordinality as u on u.ordinality = e.ordinality
      where e.element ? 'channels'
        and u.run_id = any (v_inserted)
      order by
        u.run_id,
        e.ordinality
    ) as f;
    perform tide._wake_workers(
      enqueue_many.queue,
      (
        select count(*)
        from unnest(v_runs) as g
        where g.ready
          or g.run_at < (select tide._soon())
      )::integer
    );
    perform tide._emit(
      v_inserted, array_fill(1, array[cardinality(v_inserted)]), 'run.enqueued', v_payloads
    );
  end if;
  perform tide._lower_floor(g.queue, g.priority, min(g.run_at))
  from unnest(v_runs) as g
  where g.ready
    and g.run_at < g.created_at
  group by
    g.queue,
    g.priority;

  if cardinality(v_runs) > coalesce(cardinality(v_inserted), 0) then
    for v_rest in
      select
        g.ordinality::integer as ordinal,
        e.element ->> 'on_conflict' as on_conflict,
        e.element ->> 'run_id' is not null as given_id,
        e.element -> 'channels' as channels
      from (
        select
          u.run_id,
          u.queue,
          u.dedupe_key,
          u.ordinality,
          row_number() over (partition by u.run_id order by u.ordinality) as repeats
        from unnest(v_runs) with ordinality as u
      ) as g
      join jsonb_array_elements(enqueue_many.runs) with ordinality as e(element, ordinality)
        on e.ordinality = g.ordinality
      left join tide.runs_active as a
        on a.queue = g.queue
        and a.dedupe_key = g.dedupe_key
        and a.dedupe_key is not null
        and a.status <> 'pending'
      where not exists (
          select
          from unnest(v_inserted) as i(run_id)
          where i.run_id = g.run_id
        )
        or g.repeats > 1
      order by
        a.run_id nulls last,
        g.ordinality
    loop
      v_run := v_runs[v_rest.ordinal];
      if v_rest.given_id
        and tide._made_before(v_run.run_id, v_run.workflow, v_run.input, inserted => false)
      then
        v_answer := (v_run.run_id, false, null)::tide.enqueued;
      else
        v_answer := tide._enqueue(
          v_run, coalesce(v_rest.on_conflict, 'return'), v_rest.given_id, v_rest.channels
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
  from unnest(v_runs) with ordinality as g
  order by g.ordinality;
end;
$$;

comment on function tide.enqueue_many is
  'Queue many runs, all or none: an array of objects with the argument names of enqueue; at most '
  '100000. One row for each, ordinal counted from 1.';
