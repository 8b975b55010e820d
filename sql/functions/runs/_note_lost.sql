create or replace function tide._note_lost(run tide.runs)
returns void
language plpgsql
volatile
as $$
begin
  insert into tide.lost_leases (run_id, lease_id, worker, lease, lost_at)
  values (run.run_id, run.lease_id, run.worker, run.lease, tide._now())
  on conflict on constraint lost_leases_pkey do nothing;
end;
$$;

comment on function tide._note_lost is
  'Remember the lease of a locked run that is taken from a worker without a report of it.';
