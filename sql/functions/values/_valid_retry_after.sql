create or replace function tide._valid_retry_after(retry_after interval)
returns interval
language plpgsql
immutable
parallel safe
as $$
begin
  if retry_after is null then
    return null;
  end if;
  return tide._valid_interval('retry_after', retry_after, '0', '365 days');
end;
$$;

comment on function tide._valid_retry_after is
  'A delay before the next attempt, or 22023; null = the backoff.';
