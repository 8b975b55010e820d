create or replace function tide._valid_backoff(backoff jsonb)
returns jsonb
language plpgsql
stable
parallel safe
as $$
declare
  v_jitter numeric;
begin
  if backoff is null then
    return null;
  end if;
  perform tide._known_keys('backoff', backoff, '{base,max,jitter}');
  if backoff ? 'base' then
    perform tide._valid_interval(
      'backoff.base', tide._option_interval('backoff.base', backoff -> 'base'), '0', '365 days'
    );
  end if;
  if backoff ? 'max' then
    perform tide._valid_interval(
      'backoff.max', tide._option_interval('backoff.max', backoff -> 'max'), '0', '365 days'
    );
  end if;
  v_jitter := tide._option_number('backoff.jitter', backoff -> 'jitter');
  if v_jitter not between 0 and 1 then
    raise exception 'backoff.jitter is out of range: %', v_jitter
      using errcode = '22023',
            hint = 'Give a number from 0 to 1.';
  end if;
  return backoff;
end;
$$;

comment on function tide._valid_backoff is
  'The backoff object of a run, or 22023: base and max are intervals as text, jitter is 0 to 1.';
