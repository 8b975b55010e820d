create or replace function tide.run_times(
  duration interval default '1 hour',
  per text default 'queue',
  names text[] default null
)
returns table (
  name text,
  runs bigint,
  wait_p50 interval,
  wait_p95 interval,
  wait_p99 interval,
  run_p50 interval,
  run_p95 interval,
  run_p99 interval
)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
declare
  v_since constant timestamptz := date_bin(
    '1 hour',
    tide._now() - tide._valid_interval('duration', run_times.duration, '1 minute', '2 days'),
    'epoch'
  );
  v_per constant text := tide._valid_choice('per', run_times.per, '{queue,lane}');
begin
  return query
  with counted as (
    select
      case when v_per = 'queue' then b.queue else b.lane end as name,
      b.measure,
      b.bin,
      sum(b.runs) as runs
    from tide.time_bins as b
    where b.hour >= v_since
      and (
        run_times.names is null
        or case when v_per = 'queue' then b.queue else b.lane end = any (run_times.names)
      )
      and (v_per = 'queue' or b.lane <> '')
    group by
      1,
      2,
      3
  ),
  summed as (
    select
      c.name,
      c.measure,
      c.bin,
      c.runs,
      sum(c.runs) over (
        partition by c.name, c.measure
        order by c.bin
      ) as up_to,
      sum(c.runs) over (partition by c.name, c.measure) as all_runs
    from counted as c
  ),
  found as (
    select
      s.name,
      s.measure,
      q.share,
      -- Within its bin, as far as so many of its runs lie.
      make_interval(
        secs => case
          when s.bin = 0 then 0.001
          else 0.001 * 2 ^ (
            (s.bin - 1 + (q.share * s.all_runs - (s.up_to - s.runs)) / s.runs) / 4.0
          )
        end::double precision
      ) as length,
      s.all_runs
    from summed as s
    cross join (
      values (0.5), (0.95), (0.99)
    ) as q(share)
    where s.up_to >= q.share * s.all_runs
      and s.up_to - s.runs < q.share * s.all_runs
  )
  select
    f.name,
    max(f.all_runs) filter (where f.measure = 'wait')::bigint,
    max(f.length) filter (where f.measure = 'wait' and f.share = 0.5),
    max(f.length) filter (where f.measure = 'wait' and f.share = 0.95),
    max(f.length) filter (where f.measure = 'wait' and f.share = 0.99),
    max(f.length) filter (where f.measure = 'run' and f.share = 0.5),
    max(f.length) filter (where f.measure = 'run' and f.share = 0.95),
    max(f.length) filter (where f.measure = 'run' and f.share = 0.99)
  from found as f
  group by f.name
  order by f.name;
end;
$$;

comment on function tide.run_times is
  'How long runs of each queue, or per lane of each lane, waited for their start and worked, in '
  'their last attempt: the half, 95 and 99 percent of those that ended in the hours of the last duration, '
  'at most two days, took no longer; within 19 percent. Counted a minute or so after the end.';
