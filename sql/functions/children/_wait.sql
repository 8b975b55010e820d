create or replace function tide._wait(
  run tide.runs,
  kind text,
  name text,
  duration interval,
  event text default null
)
returns tide.waits
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
  v_wait tide.waits;
begin
  insert into tide.waits (run_id, kind, name, status, due_at, created_at, event)
  values (
    run.run_id,
    _wait.kind,
    _wait.name,
    'pending',
    v_now + _wait.duration,
    v_now,
    nullif(_wait.event, _wait.name)
  )
  on conflict on constraint waits_pkey do nothing;
  v_wait := (
    select w
    from tide.waits as w
    where w.run_id = run.run_id
      and w.kind = _wait.kind
      and w.name = _wait.name
  );
  return v_wait;
end;
$$;

comment on function tide._wait is
  'The wait of a locked run with this name, made if need be.';
