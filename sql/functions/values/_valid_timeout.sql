create or replace function tide._valid_timeout(timeout interval)
returns interval
language plpgsql
immutable
parallel safe
as $$
begin
  if timeout is null then
    return null;
  end if;
  return tide._valid_interval('timeout', timeout, '0', '3650 days');
end;
$$;

comment on function tide._valid_timeout is 'How long to wait, or 22023; null = without end.';
