create or replace function tide._try_lock(run_id uuid)
returns boolean
language plpgsql
volatile
as $$
begin
  perform
  from tide.runs_active as r
  where r.run_id = _try_lock.run_id
  for no key update skip locked;
  if found then
    return true;
  end if;
  perform
  from tide.runs_finished as r
  where r.run_id = _try_lock.run_id
  for no key update skip locked;
  return found;
end;
$$;

comment on function tide._try_lock is
  'Lock a run, active or finished, unless another session holds it; whether that worked.';
