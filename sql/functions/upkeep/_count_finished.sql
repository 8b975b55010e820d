-- Of many queue names a thousand a batch: where it ends the next one goes on.
create or replace function tide._count_finished()
returns integer
language plpgsql
volatile
as $$
declare
  v_from timestamptz;
  v_until timestamptz;
  v_settled timestamptz;
  v_first_queue text;
  v_queue text;
  v_looked integer := 0;
  v_next timestamptz;
  v_first timestamptz;
begin
  select
    t.counted_until,
    -- At most ten minutes a round; only minutes in which nobody can still commit a finish.
    coalesce(
      t.counting_until,
      least(date_trunc('minute', t.settled_at), t.counted_until + interval '10 minutes')
    ),
    date_trunc('minute', t.settled_at),
    t.counted_queue
  into v_from, v_until, v_settled, v_first_queue
  from tide.ticks as t
  for no key update skip locked;
  if not found or v_until <= v_from then
    return 0;
  end if;
  v_queue := v_first_queue;
  loop
    select f.queue
    into v_queue
    from tide.runs_finished as f
    where f.queue > v_queue
    order by f.queue
    limit 1;
    exit when not found;
    insert into tide.queue_minutes as m (queue, minute, completed, failed, cancelled)
    select
      v_queue,
      date_trunc('minute', f.finished_at),
      count(*) filter (where f.status = 'completed'),
      count(*) filter (where f.status = 'failed'),
      count(*) filter (where f.status = 'cancelled')
    from tide.runs_finished as f
    where f.queue = v_queue
      and f.finished_at >= v_from
      and f.finished_at < v_until
    group by date_trunc('minute', f.finished_at)
    on conflict on constraint queue_minutes_pkey do nothing;
    select f.finished_at
    into v_first
    from tide.runs_finished as f
    where f.queue = v_queue
      and f.finished_at >= v_until
    order by f.finished_at
    limit 1;
    v_next := least(v_next, v_first);
    v_looked := v_looked + 1;
    if v_looked = 1000 then
      update tide.ticks as t
      set
        counted_queue = v_queue,
        counting_until = v_until;
      return 1;
    end if;
  end loop;
  update tide.ticks as t
  set
    counted_queue = '',
    counting_until = null,
    counted_until = case
      -- Straight on to the next minute in which anything ended, where all queues were looked at.
      when v_first_queue = '' then greatest(
        v_until, least(v_settled, date_trunc('minute', coalesce(v_next, v_settled)))
      )
      else v_until
    end;
  return 1;
end;
$$;

comment on function tide._count_finished is
  'Count what ended in settled minutes; afterwards queue_stats reads minutes instead of runs.';
