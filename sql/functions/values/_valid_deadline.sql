create or replace function tide._valid_deadline(deadline interval, prefix text default '')
returns interval
language plpgsql
immutable
parallel safe
as $$
begin
  if deadline is null then
    return null;
  end if;
  return tide._valid_interval(
    prefix || 'deadline', deadline, '1 millisecond', '3650 days'
  );
end;
$$;

comment on function tide._valid_deadline is
  'The length of time a run has, or 22023; null = no deadline.';
