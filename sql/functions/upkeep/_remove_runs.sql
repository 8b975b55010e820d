create or replace function tide._remove_runs(run_ids uuid[], keeps text[])
returns void
language plpgsql
volatile
as $$
begin
  delete from tide.run_inputs as i where i.run_id = any (_remove_runs.run_ids);
  delete from tide.run_lanes as o
  where o.run_id = any (
    array(
      select r.run_id
      from tide.runs_finished as r
      where r.run_id = any (_remove_runs.run_ids)
        and r.lane is not null
    )
  );
  delete from tide.events as e where e.run_id = any (_remove_runs.run_ids);
  delete from tide.steps as s where s.run_id = any (_remove_runs.run_ids);
  delete from tide.lease_renewals as b where b.run_id = any (_remove_runs.run_ids);
  delete from tide.lost_leases as l where l.run_id = any (_remove_runs.run_ids);
  delete from tide.predecessors as p where p.run_id = any (_remove_runs.run_ids);
  delete from tide.waits as w where w.run_id = any (_remove_runs.run_ids);
  delete from tide.signals as s where s.run_id = any (_remove_runs.run_ids);
  delete from tide.state_versions as v where v.run_id = any (_remove_runs.run_ids);
  delete from tide.state_streams as s where s.run_id = any (_remove_runs.run_ids);
  delete from tide.stream_chunks as s where s.run_id = any (_remove_runs.run_ids);
  delete from tide.spending as s where s.run_id = any (_remove_runs.run_ids);
  delete from tide.deliveries as d where d.run_id = any (_remove_runs.run_ids);
  with gone as (
    delete from tide.channels as c
    where c.run_id = any (_remove_runs.run_ids)
    returning
      c.run_id,
      c.channel,
      c.secret_name
  )
  delete from tide.webhook_secrets as s
  where s.name in (
      select g.secret_name
      from gone as g
      where g.secret_name like 'http-%'
    )
    -- Who has just stored it makes a run that names it.
    and s.created_at < tide._now() - interval '1 day'
    and not exists (
      select
      from tide.channels as c
      where c.secret_name = s.name
        and c.secret_name like 'http-%'
        and c.run_id <> all (_remove_runs.run_ids)
    );
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
