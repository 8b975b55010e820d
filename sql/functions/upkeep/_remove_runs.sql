create or replace function tide._remove_runs(run_ids uuid[], keeps text[])
returns void
language plpgsql
volatile
as $$
begin
  delete from tide.events as e where e.run_id = any (_remove_runs.run_ids);
  delete from tide.steps as s where s.run_id = any (_remove_runs.run_ids);
  delete from tide.lease_renewals as b where b.run_id = any (_remove_runs.run_ids);
  delete from tide.lost_leases as l where l.run_id = any (_remove_runs.run_ids);
  delete from tide.waits as w where w.run_id = any (_remove_runs.run_ids);
  delete from tide.signals as s where s.run_id = any (_remove_runs.run_ids);
  delete from tide.state_versions as v where v.run_id = any (_remove_runs.run_ids);
  delete from tide.state_streams as s where s.run_id = any (_remove_runs.run_ids);
  delete from tide.stream_chunks as s where s.run_id = any (_remove_runs.run_ids);
  delete from tide.spending as s where s.run_id = any (_remove_runs.run_ids);
  delete from tide.deliveries as d where d.run_id = any (_remove_runs.run_ids);
  delete from tide.channels as c where c.run_id = any (_remove_runs.run_ids);
  delete from tide.cascades as c where c.parent_id = any (_remove_runs.run_ids);
  delete from tide.run_edges as e where e.parent_id = any (_remove_runs.run_ids);
  if not 'gates' = any (keeps) then
    delete from tide.gate_votes as v where v.run_id = any (_remove_runs.run_ids);
    delete from tide.gates as g where g.run_id = any (_remove_runs.run_ids);
  end if;
  if not 'usage' = any (keeps) then
    delete from tide.usage as u where u.run_id = any (_remove_runs.run_ids);
  end if;
  delete from tide.runs_finished as r where r.run_id = any (_remove_runs.run_ids);
end;
$$;

comment on function tide._remove_runs is
  'Delete finished runs, locked by the caller, with everything that belongs to them.';
