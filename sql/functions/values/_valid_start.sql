create or replace function tide._valid_start(
  now timestamptz,
  delay interval,
  run_at timestamptz,
  prefix text default '',
  deadline interval default null
)
returns timestamptz
language plpgsql
stable
parallel safe
as $$
declare
  v_start timestamptz := _valid_start.now;
begin
  if run_at is not null then
    v_start := tide._valid_time(prefix || 'run_at', run_at);
  elsif delay is not null then
    v_start := _valid_start.now + tide._valid_interval(
      prefix || 'delay', delay, '0', '3650 days'
    );
  end if;
  if v_start > _valid_start.now + tide._valid_deadline(_valid_start.deadline, prefix) then
    raise exception '% lies beyond the deadline of the run: %',
        prefix || case when run_at is not null then 'run_at' else 'delay' end,
        coalesce(run_at::text, delay::text)
      using errcode = '22023',
            hint = format(
              'The deadline counts from now: give more than %s, or an earlier start.',
              _valid_start.deadline
            );
  end if;
  return v_start;
end;
$$;

comment on function tide._valid_start is
  'When a run may start: run_at, else now and delay, else now; out of range, or beyond the deadline of '
  'the run: 22023.';
