create or replace function tide._valid_window(per text)
returns text
language plpgsql
stable
as $$
begin
  if per is null or per in ('ever', 'day', 'month') then
    return coalesce(per, 'ever');
  end if;
  return tide._valid_interval(
    'per', tide._option_interval('per', to_jsonb(per)), '1 minute', '3650 days'
  )::text;
end;
$$;

comment on function tide._valid_window is
  'The window of an allowance, ever, day, month or an interval of a minute to ten years, as its column '
  'has it; or 22023.';
