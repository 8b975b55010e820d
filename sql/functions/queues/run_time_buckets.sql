create or replace function tide.run_time_buckets()
returns table (
  queue text,
  measure text,
  up_to double precision,
  runs bigint,
  seconds double precision
)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
begin
  return query
  select
    b.queue,
    b.measure,
    u.up_to,
    coalesce(sum(b.runs) filter (where b.bin <= u.bin), 0)::bigint,
    sum(b.seconds)
  from tide.time_bins as b
  cross join (
    select
      case when g.power < 13 then 8 * g.power else 160 end as bin,
      case
        when g.power < 13 then 0.001 * 4.0 ^ g.power
        else 'infinity'
      end::double precision as up_to
    from generate_series(0, 13) as g(power)
  ) as u
  group by
    b.queue,
    b.measure,
    u.up_to
  order by
    b.queue,
    b.measure,
    u.up_to;
end;
$$;

comment on function tide.run_time_buckets is
  'How many runs of each queue waited, and worked, up to so many seconds, ever since; each row counts those '
  'of the rows before it, and seconds is what all of them took. As histograms of Prometheus are.';
