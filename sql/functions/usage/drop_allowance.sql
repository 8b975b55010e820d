create or replace function tide.drop_allowance(
  scope text,
  unit text,
  per text default null,
  actor text default null
)
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_actor constant text := tide._valid_note('actor', drop_allowance.actor);
  v_per constant text := tide._valid_window(drop_allowance.per);
  v_old tide.allowances;
begin
  perform tide._require_read_committed('drop_allowance');
  delete from tide.allowances as a
  where a.scope = drop_allowance.scope
    and a.unit = drop_allowance.unit
    and a.per = v_per
  returning a.* into v_old;
  if not found then
    return false;
  end if;
  -- In their order, like everybody who needs all of them.
  perform
  from tide.purses as p
  where p.allowance_id = v_old.allowance_id
  order by p.purse
  for update;
  delete from tide.purses as p
  where p.allowance_id = v_old.allowance_id;
  perform tide._note_change(
    'allowance',
    v_old.scope || ' ' || v_old.unit || '/' || v_old.per,
    null,
    v_actor,
    jsonb_build_object('amount', v_old.amount, 'estimate', v_old.estimate),
    '{}'
  );
  perform tide._wake_waiting(v_old.allowance_id);
  return true;
end;
$$;

comment on function tide.drop_allowance is
  'Remove an allowance; false = there was none. Its runs stay, from now on it limits nothing, and those '
  'that wait for it go on, a thousand at once and the others by upkeep.';
