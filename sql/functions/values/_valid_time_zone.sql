create or replace function tide._valid_time_zone(time_zone text)
returns text
language plpgsql
stable
parallel safe
as $$
declare
  v_name text;
begin
  if upper(_valid_time_zone.time_zone) = 'UTC' then
    return 'UTC';
  end if;
  -- By the list of zones: Postgres itself takes any word followed by a number for a zone.
  select n.name
  into v_name
  from pg_timezone_names as n
  where lower(n.name) = lower(_valid_time_zone.time_zone)
    and n.name !~ '^(posix|right)/'
    -- Postgres reads these as abbreviations, which never have summer time.
    and n.name not in ('CET', 'EET', 'MET', 'WET')
  order by n.name
  limit 1;
  if found then
    return v_name;
  end if;
  raise exception 'time_zone is not known: %',
      coalesce(quote_literal(left(_valid_time_zone.time_zone, 200)), 'null')
    using errcode = '22023',
          hint = 'Give a region of pg_timezone_names, such as Europe/Berlin.';
end;
$$;

comment on function tide._valid_time_zone is
  'The name of a time zone as its database spells it, or 22023.';
