-- Field by field: each position() jumps to the next bit that is set, so the rarest leap day costs a
-- few steps. Both day fields are laid over each other as the days of the month at hand.
create or replace function tide._next_local(cron tide.cron, after timestamp)
returns timestamp
language plpgsql
immutable
parallel safe
as $$
declare
  v_from constant timestamp := date_trunc('minute', _next_local.after) + interval '1 minute';
  v_year integer := extract(year from v_from);
  v_month integer := extract(month from v_from);
  v_day integer := extract(day from v_from);
  v_hour integer := extract(hour from v_from);
  v_minute integer := extract(minute from v_from);
  v_last_year constant integer := v_year + 9;
  v_first date;
  v_length integer;
  v_weekdays bit(31);
  v_days bit(31);
  v_skip integer;
begin
  while v_year <= v_last_year loop
    v_skip := position(B'1' in substring(cron.months from v_month)) - 1;
    if v_skip < 0 then
      v_year := v_year + 1;
      v_month := 1;
    else
      v_month := v_month + v_skip;
    end if;
    if v_skip <> 0 then
      v_day := 1;
      v_hour := 0;
      v_minute := 0;
    end if;
    continue when v_skip < 0;

    v_first := make_date(v_year, v_month, 1);
    v_length := extract(day from v_first + interval '1 month - 1 day');
    v_weekdays := substring(
      cron.weekdays || cron.weekdays || cron.weekdays || cron.weekdays || cron.weekdays
        || cron.weekdays
      from extract(dow from v_first)::integer + 1 for 31
    );
    v_days := case
      when cron.either_day then cron.days | v_weekdays
      else cron.days & v_weekdays
    end;
    loop
      v_skip := position(B'1' in substring(v_days from v_day)) - 1;
      exit when v_skip < 0 or v_day + v_skip > v_length;
      if v_skip > 0 then
        v_day := v_day + v_skip;
        v_hour := 0;
        v_minute := 0;
      end if;
      loop
        v_skip := position(B'1' in substring(cron.hours from v_hour + 1)) - 1;
        exit when v_skip < 0;
        if v_skip > 0 then
          v_hour := v_hour + v_skip;
          v_minute := 0;
        end if;
        v_skip := position(B'1' in substring(cron.minutes from v_minute + 1)) - 1;
        if v_skip >= 0 then
          return make_timestamp(v_year, v_month, v_day, v_hour, v_minute + v_skip, 0);
        end if;
        v_hour := v_hour + 1;
        v_minute := 0;
      end loop;
      v_day := v_day + 1;
      v_hour := 0;
      v_minute := 0;
    end loop;
    v_month := v_month + 1;
    v_day := 1;
    v_hour := 0;
    v_minute := 0;
  end loop;
  return null;
end;
$$;

comment on function tide._next_local is
  'The next time on the wall that matches, later than the minute of after; null when none does '
  'within nine years, which is longer than leap days are ever apart.';
