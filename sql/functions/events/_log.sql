create or replace function tide._log(
  run_id uuid,
  type text,
  payload jsonb,
  renews boolean default true
)
returns void
language plpgsql
volatile
as $$
declare
  v_seq integer;
begin
  update tide.runs_active as r
  set
    last_seq = r.last_seq + 1,
    leased_until = case
      when r.status = 'running' and _log.renews then tide._now() + r.lease
      else r.leased_until
    end
  where r.run_id = _log.run_id
  returning r.last_seq into v_seq;
  if not found then
    update tide.runs_finished as r
    set last_seq = r.last_seq + 1
    where r.run_id = _log.run_id
    returning r.last_seq into v_seq;
  end if;
  perform tide._emit(array[_log.run_id], array[v_seq], _log.type, array[_log.payload]);
end;
$$;

comment on function tide._log is
  'Log an event of a run the caller has locked; the lease of a running run is renewed, unless it was not '
  'its worker who acted.';
