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
    -- Both counts from one look at the rows.
    with ended as materialized (
      select
        date_trunc('minute', f.finished_at) as minute,
        f.status,
        coalesce(f.lane, '') as lane,
        tide._time_bin(f.waited) as wait_bin,
        tide._time_bin(f.worked) as run_bin,
        count(*) as runs,
        sum(f.waited) as waited,
        sum(f.worked) as worked
      from (
        select
          r.finished_at,
          r.status,
          r.lane,
          -- Runs that were queued again after their last start are in no attempt.
          case
            when r.run_at <= r.started_at
              then date_part('epoch', r.started_at - greatest(r.run_at, r.created_at))
          end as waited,
          case
            when r.run_at <= r.started_at and r.status <> 'cancelled'
              then date_part('epoch', r.finished_at - r.started_at)
          end as worked
        from tide.runs_finished as r
        where r.queue = v_queue
          and r.finished_at >= v_from
          and r.finished_at < v_until
        -- Else each length would be computed again wherever its bin is.
        offset 0
      ) as f
      group by
        1,
        2,
        3,
        4,
        5
    ),
    minutes as (
      insert into tide.queue_minutes as m (queue, minute, completed, failed, cancelled)
      select
        v_queue,
        e.minute,
        coalesce(sum(e.runs) filter (where e.status = 'completed'), 0),
        coalesce(sum(e.runs) filter (where e.status = 'failed'), 0),
        coalesce(sum(e.runs) filter (where e.status = 'cancelled'), 0)
      from ended as e
      group by e.minute
      on conflict on constraint queue_minutes_pkey do nothing
    )
    insert into tide.time_bins as b (queue, lane, hour, measure, bin, runs, seconds)
    select
      v_queue,
      e.lane,
      date_bin('1 hour', e.minute, 'epoch'),
      t.measure,
      t.bin,
      sum(e.runs),
      sum(t.seconds)
    from ended as e
    cross join lateral (
      values
        ('wait', e.wait_bin, e.waited),
        ('run', e.run_bin, e.worked)
    ) as t(measure, bin, seconds)
    where t.bin is not null
    group by
      e.lane,
      3,
      t.measure,
      t.bin
    on conflict on constraint time_bins_pkey do update
    set
      runs = b.runs + excluded.runs,
      seconds = b.seconds + excluded.seconds;
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
  'Count what ended in settled minutes, and how long it took; afterwards queue_stats reads minutes '
  'instead of runs.';
