create or replace function tide._valid_time(argument text, value timestamptz)
returns timestamptz
language plpgsql
stable
parallel safe
as $$
begin
  if value between tide._now() - interval '10 years' and tide._now() + interval '10 years' then
    return value;
  end if;
  raise exception '% is out of range: %', _valid_time.argument,
      coalesce(_valid_time.value::text, 'null')
    using errcode = '22023',
          hint = 'Give a time within ten years of now.';
end;
$$;

comment on function tide._valid_time is
  'The value, or 22023: a finite time within ten years, which every driver can read.';
