-- Subtransactions only when the tick is due: twice a second over all claimers. In a database just
-- restored the tick is long overdue, so its first claim looks at the identity before anything else;
-- beside a tick that another carries, and perhaps holds for long, each claim looks for itself.
create or replace function tide._tick()
returns boolean
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
  v_next_at timestamptz;
  v_paused_at timestamptz;
  v_sweep text;
begin
  select
    t.next_at,
    t.paused_at
  into v_next_at, v_paused_at
  from tide.ticks as t;
  if v_next_at > v_now then
    return v_paused_at is null;
  end if;
  perform
  from tide.ticks as t
  where t.next_at <= v_now
  for no key update skip locked;
  if not found then
    return v_paused_at is null and not tide._is_copy();
  end if;
  update tide.ticks as t
  set next_at = v_now + interval '500 milliseconds';
  if not tide._check_identity() then
    return false;
  end if;
  foreach v_sweep in array tide._sweeps(every_tick => true) loop
    perform tide._sweep(v_sweep, 10);
  end loop;
  return true;
end;
$$;

comment on function tide._tick is
  'The small tick that claims carry: bounded upkeep, twice a second, by whoever comes first. False '
  'while the installation is paused: then nothing may be claimed.';
