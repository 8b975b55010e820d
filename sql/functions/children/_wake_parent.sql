create or replace function tide._wake_parent(parent_id uuid)
returns boolean
language plpgsql
volatile
as $$
declare
  v_run tide.runs;
begin
  v_run := (
    select r::tide.runs
    from tide.runs_active as r
    where r.run_id = _wake_parent.parent_id
      and r.waiting_on = 'children'
    for no key update skip locked
  );
  if v_run.run_id is not null and tide._children_suffice(v_run.run_id, v_run.waiting_for) then
    perform tide._resume(
      v_run, jsonb_build_object('waited_on', 'children', 'mode', v_run.waiting_for)
    );
    return true;
  end if;
  return false;
end;
$$;

comment on function tide._wake_parent is
  'Wake a run parked on its children if they suffice and nobody holds its row.';
