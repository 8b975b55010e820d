-- Security definer, unlike other private functions: reconcile cannot be (it commits), and its caller
-- has no right on any table. A whole batch first; only when that fails, row by row with a
-- subtransaction each, so that one poisonous row is set aside and the others proceed.
create or replace function tide._sweep(
  sweep text,
  batch integer,
  alone boolean default false
)
returns integer
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
declare
  v_key text;
  v_done integer := 0;
begin
  if alone and not tide._take_turn('reconcile') then
    return null;
  end if;
  -- While the installation is paused only its own bookkeeping goes on.
  if sweep not in ('identity', 'settled_clock', 'claim_floors', 'finished_counts')
    and not tide._is_at_work()
  then
    return 0;
  end if;
  begin
    return tide._run_sweep(sweep, tide._sweep_keys(sweep, batch), batch);
  exception
    when others then
      if not tide._sweeps_rows(sweep) then
        perform tide._set_aside(sweep, '', sqlerrm, sqlstate);
        return 0;
      end if;
  end;
  foreach v_key in array tide._sweep_keys(sweep, least(batch, 50)) loop
    begin
      v_done := v_done + tide._run_sweep(sweep, array[v_key], 1);
    exception
      when others then
        perform tide._set_aside(sweep, v_key, sqlerrm, sqlstate);
        v_done := v_done + 1;
    end;
  end loop;
  return v_done;
end;
$$;

comment on function tide._sweep is
  'One bounded batch of a sweep; returns how much it handled, 0 when there is nothing left. alone = not '
  'beside another such call: null when there is one.';
