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
  -- What is done in a transaction that goes on for long is held as long.
  if statement_timestamp() > transaction_timestamp() + interval '1 second'
    or not tide._begin_tick(v_now)
  then
    return _carry_tick.paused_at is null and not tide._is_copy();
  end if;
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
  'The small tick that claims carry: bounded upkeep by the claim that comes first. False while the '
  'installation is paused.';
