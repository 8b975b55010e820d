-- Subtransactions only when the tick is due: twice a second over all claimers. In a database just
-- restored the tick is long overdue, so its first claim looks at the identity before anything else;
-- beside a tick that another carries, and perhaps holds for long, each claim looks for itself.
create or replace function tide._carry_tick(paused_at timestamptz)
returns boolean
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
  v_sweep text;
begin
  perform
  from tide.ticks as t
  where t.next_at <= v_now
  for no key update skip locked;
  if not found then
    return _carry_tick.paused_at is null and not tide._is_copy();
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

comment on function tide._carry_tick is
  'The small tick that claims carry: bounded upkeep by whoever comes first. False while the '
  'installation is paused.';
