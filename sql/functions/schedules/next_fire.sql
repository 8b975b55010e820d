create or replace function tide.next_fire(
  cron text,
  after timestamptz default null,
  time_zone text default 'UTC'
)
returns timestamptz
language plpgsql
stable
parallel safe
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_after constant timestamptz := coalesce(next_fire.after, tide._now());
begin
  if v_after not between '0001-01-03 00:00:00+00' and '9900-01-01 00:00:00+00' then
    raise exception 'after is out of range: %', v_after
      using errcode = '22023',
            hint = 'Give a time before the year 9900.';
  end if;
  return tide._next_fire(
    tide._parse_cron(next_fire.cron), v_after, tide._valid_time_zone(next_fire.time_zone)
  );
end;
$$;

comment on function tide.next_fire is
  'The first time later than after (null = now) that a cron expression names in a time zone; a bad '
  'expression: 22023. Times in a gap of the clock fire at its end, times that occur twice the first '
  'time; with * for minute or hour, elapsed time counts.';
