-- What goes is added to a row of all times, so that counts for scrapers only grow; where nothing else
-- of a queue is left, that goes too, and would begin at 0.
create or replace function tide._forget_time_bins()
returns void
language plpgsql
volatile
as $$
#variable_conflict use_column
declare
  v_queues text[];
begin
  with gone as (
    delete from tide.time_bins as b
    where b.ctid = any (
      array(
        select s.ctid
        from tide.time_bins as s
        where s.hour > '-infinity'
          and s.hour < tide._now() - interval '48 hours'
        order by s.hour
        limit 10000
        for update skip locked
      )
    )
    returning
      b.queue,
      b.lane,
      b.measure,
      b.bin,
      b.runs,
      b.seconds
  ),
  added as (
    insert into tide.time_bins as b (queue, lane, hour, measure, bin, runs, seconds)
    select
      g.queue,
      g.lane,
      '-infinity',
      g.measure,
      g.bin,
      sum(g.runs),
      sum(g.seconds)
    from gone as g
    group by
      g.queue,
      g.lane,
      g.measure,
      g.bin
    on conflict on constraint time_bins_pkey do update
    set
      runs = b.runs + excluded.runs,
      seconds = b.seconds + excluded.seconds
    returning b.queue
  )
  select array_agg(distinct a.queue)
  into v_queues
  from added as a;
  if v_queues is not null then
    delete from tide.time_bins as b
    where b.hour = '-infinity'
      and b.queue = any (v_queues)
      and not exists (
        select
        from tide.time_bins as k
        where k.queue = b.queue
          and k.hour > '-infinity'
      );
  end if;
end;
$$;

comment on function tide._forget_time_bins is 'Keep times of runs by the hour for two days.';
