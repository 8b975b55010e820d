create or replace function tide._require_run(run_id uuid, verb text default null)
returns boolean
language plpgsql
stable
as $$
declare
  v_queue text;
begin
  if not exists (
    select
    from tide.queue_grants as g
  ) then
    return true;
  end if;
  select r.queue
  into v_queue
  from tide.runs as r
  where r.run_id = _require_run.run_id;
  return tide._require_queue(v_queue, _require_run.verb);
end;
$$;

comment on function tide._require_run is
  'True, or 42501 when the run is in a restricted queue and the login has no grant.';
