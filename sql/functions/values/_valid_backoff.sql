create or replace function tide._valid_backoff(backoff jsonb, prefix text default '')
returns jsonb
language plpgsql
stable
parallel safe
as $$
declare
  v_key text;
  v_length interval;
  v_jitter numeric;
begin
  if backoff is null then
    return null;
  end if;
  perform tide._known_keys(prefix || 'backoff', backoff, '{base,max,jitter}');
  foreach v_key in array array['base', 'max'] loop
    v_length := tide._option_interval(prefix || 'backoff.' || v_key, backoff -> v_key);
    if v_length is not null then
      perform tide._valid_interval(prefix || 'backoff.' || v_key, v_length, '0', '365 days');
    end if;
  end loop;
  v_jitter := tide._option_number(prefix || 'backoff.jitter', backoff -> 'jitter');
  if v_jitter not between 0 and 1 then
    raise exception '%backoff.jitter is out of range: %', prefix, left(v_jitter::text, 200)
      using errcode = '22023',
            hint = 'Give a number from 0 to 1.';
  end if;
  return backoff;
end;
$$;

comment on function tide._valid_backoff is
  'The backoff object of a run, or 22023: base and max are intervals as text, jitter is 0 to 1.';
