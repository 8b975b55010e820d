create or replace function tide._valid_start(
  now timestamptz,
  delay interval,
  run_at timestamptz,
  prefix text default ''
)
returns timestamptz
language plpgsql
stable
parallel safe
as $$
begin
  if run_at is not null then
    return tide._valid_time(prefix || 'run_at', run_at);
  elsif delay is not null then
    return _valid_start.now + tide._valid_interval(
      prefix || 'delay', delay, '0', '3650 days'
    );
  end if;
  return _valid_start.now;
end;
$$;

comment on function tide._valid_start is
  'When a run may start: run_at, else now and delay, else now; out of range: 22023.';
