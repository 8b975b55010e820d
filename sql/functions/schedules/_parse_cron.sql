create or replace function tide._parse_cron(cron text)
returns tide.cron
language plpgsql
immutable
parallel safe
as $$
declare
  v_text constant text := lower(btrim(_parse_cron.cron, E' \t') collate "C");
  v_fields text[];
  v_cron tide.cron;
begin
  if octet_length(_parse_cron.cron) <= 500 then
    v_fields := regexp_split_to_array(
      case v_text
        when '@yearly' then '0 0 1 1 *'
        when '@annually' then '0 0 1 1 *'
        when '@monthly' then '0 0 1 * *'
        when '@weekly' then '0 0 * * 0'
        when '@daily' then '0 0 * * *'
        when '@midnight' then '0 0 * * *'
        when '@hourly' then '0 * * * *'
        else v_text
      end,
      E'[ \t]+'
    );
  end if;
  if cardinality(v_fields) is distinct from 5 then
    raise exception 'cron does not have five fields: %',
        coalesce(quote_literal(left(_parse_cron.cron, 200)), 'null')
      using errcode = '22023',
            hint = 'Give minute, hour, day of month, month and day of week, such as "0 9 * * 1-5"; '
                   'or @hourly, @daily, @weekly, @monthly or @yearly.';
  end if;
  v_cron.minutes := tide._parse_cron_field(v_text, 'minute', v_fields[1], 0, 59);
  v_cron.hours := tide._parse_cron_field(v_text, 'hour', v_fields[2], 0, 23);
  v_cron.days := tide._parse_cron_field(v_text, 'day of month', v_fields[3], 1, 31);
  v_cron.months := tide._parse_cron_field(
    v_text,
    'month',
    v_fields[4],
    1,
    12,
    '{jan,feb,mar,apr,may,jun,jul,aug,sep,oct,nov,dec}'
  );
  v_cron.weekdays := tide._parse_cron_field(
    v_text, 'day of week', v_fields[5], 0, 6, '{sun,mon,tue,wed,thu,fri,sat}'
  );
  v_cron.either_day := v_fields[3] <> '*' and v_fields[5] <> '*';
  v_cron.elapsed := v_fields[1] like '*%' or v_fields[2] like '*%';
  if tide._next_local(v_cron, '2000-01-01') is null then
    raise exception 'cron never fires: %', quote_literal(_parse_cron.cron)
      using errcode = '22023',
            hint = 'No month it names has such a day.';
  end if;
  return v_cron;
end;
$$;

comment on function tide._parse_cron is
  'A cron expression as bits, or 22023 naming the field and the value.';
