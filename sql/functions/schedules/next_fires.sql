create or replace function tide.next_fires(
  cron text,
  after timestamptz default null,
  time_zone text default 'UTC',
  max_fires integer default 10
)
returns setof timestamptz
language plpgsql
stable
parallel safe
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_limit constant integer := tide._valid_integer('max_fires', next_fires.max_fires, 1, 100);
  v_cron constant tide.cron := tide._parse_cron(next_fires.cron);
  v_time_zone constant text := tide._valid_time_zone(next_fires.time_zone);
  v_fire timestamptz := coalesce(next_fires.after, tide._now());
begin
  for v_number in 1..v_limit loop
    if v_fire not between '0001-01-03 00:00:00+00' and '9900-01-01 00:00:00+00' then
      raise exception 'after is out of range: %', v_fire
        using errcode = '22023',
              hint = 'Give a time before the year 9900.';
    end if;
    v_fire := tide._next_fire(v_cron, v_fire, v_time_zone);
    return next v_fire;
  end loop;
end;
$$;

comment on function tide.next_fires is
  'The first times later than after (null = now) that a cron expression names in a time zone; a bad '
  'expression: 22023.';
