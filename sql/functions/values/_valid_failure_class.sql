create or replace function tide._valid_failure_class(failure_class text)
returns text
language plpgsql
immutable
parallel safe
as $$
begin
  if failure_class is null then
    return null;
  end if;
  return tide._valid_name('failure_class', failure_class);
end;
$$;

comment on function tide._valid_failure_class is
  'A short name for why a run failed, or 22023; null = error or max_retries.';
