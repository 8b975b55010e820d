-- No floor lies above a second ago, so a run of this moment is above all of them.
create or replace function tide._make_ready(
  queue text,
  priority integer,
  run_at timestamptz,
  runs integer default 1
)
returns boolean
language plpgsql
volatile
as $$
begin
  if _make_ready.run_at < tide._now() - interval '1 second' then
    perform tide._lower_floor(_make_ready.queue, _make_ready.priority, _make_ready.run_at);
  end if;
  if exists (
    select
    from tide.waiters as w
    where w.queue = _make_ready.queue
  ) then
    if _make_ready.run_at < tide._soon() then
      perform tide._wake_workers(_make_ready.queue, _make_ready.runs);
    end if;
  end if;
  return true;
end;
$$;

comment on function tide._make_ready is
  'Let claims find runs that are, or will soon be, ready: lower the claim floor and wake idle workers. '
  'run_at = the earliest of them; queue null = they have none. True.';
