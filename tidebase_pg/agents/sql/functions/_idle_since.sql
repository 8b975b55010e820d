create or replace function {schema}._idle_since(idle interval)
returns timestamptz
language plpgsql
volatile
as $$
begin
  if idle is null or idle <= interval '0' then
    raise exception 'idle is not valid: %', coalesce(idle::text, 'null')
      using errcode = '22023',
            hint = 'Give a positive interval.';
  end if;
  return clock_timestamp() - idle;
end;
$$;

comment on function {schema}._idle_since is
  'The time before which nobody may have written to what has been idle for so long. '
  'Raises invalid_parameter_value unless idle is positive.';
