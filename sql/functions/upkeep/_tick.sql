-- Subtransactions only when the tick is due: twice a second over all claimers.
create or replace function tide._tick()
returns void
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
  v_sweep text;
begin
  if not exists (
    select
    from tide.ticks as t
    where t.next_at <= v_now
  ) then
    return;
  end if;
  perform
  from tide.ticks as t
  where t.next_at <= v_now
  for no key update skip locked;
  if not found then
    return;
  end if;
  update tide.ticks as t
  set next_at = v_now + interval '500 milliseconds';
  foreach v_sweep in array tide._sweeps(every_tick => true) loop
    perform tide._sweep(v_sweep, 10);
  end loop;
end;
$$;

comment on function tide._tick is
  'The small tick that claims carry: bounded upkeep, twice a second, by whoever comes first.';
