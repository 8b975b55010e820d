create or replace function tide._refuse_overdue(run tide.runs)
returns boolean
language plpgsql
volatile
as $$
begin
  if run.deadline_at <= tide._now() then
    raise exception 'run % is cancelled: its deadline has passed', run.run_id
      using errcode = 'TD001',
            detail = format('The deadline was %s.', run.deadline_at),
            hint = 'Stop working on this run; upkeep records the cancellation.';
  end if;
  return false;
end;
$$;

comment on function tide._refuse_overdue is
  'TD001 once the deadline has passed, whether or not upkeep has been there yet.';
