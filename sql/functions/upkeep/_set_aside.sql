create or replace function tide._set_aside(
  sweep text,
  key text,
  error text,
  sqlstate text
)
returns void
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
begin
  insert into tide.sweep_failures as f (sweep, key, error, sqlstate, failed_at, retry_at)
  values (
    _set_aside.sweep,
    _set_aside.key,
    left(_set_aside.error, 1000),
    _set_aside.sqlstate,
    v_now,
    v_now + interval '1 minute'
  )
  on conflict on constraint sweep_failures_pkey do update
  set
    error = excluded.error,
    sqlstate = excluded.sqlstate,
    failures = f.failures + 1,
    failed_at = excluded.failed_at,
    -- Twice as long each time, up to about an hour.
    retry_at = v_now + interval '1 minute' * power(2, least(f.failures, 6));
end;
$$;

comment on function tide._set_aside is
  'Remember what a sweep could not handle and leave it alone for a while.';
