-- Not more than ten for each lost lease, and nothing while somebody else holds the run: whoever was
-- refused may call again and again.
create or replace function tide.refuse_report(
  run_id uuid,
  kind text,
  worker text default null,
  lost_lease_id uuid default null,
  error jsonb default null
)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_kind constant text := tide._valid_choice(
    'kind', refuse_report.kind, '{complete,fail,step,gate,child,state}'
  );
  v_worker constant text := tide._valid_worker(refuse_report.worker);
  v_error constant jsonb := tide._valid_payload('error', refuse_report.error);
  v_lost tide.lost_leases;
begin
  perform tide._require_read_committed('refuse_report');
  perform tide._require_run(refuse_report.run_id, 'claim');
  if not tide._try_lock(refuse_report.run_id) then
    return;
  end if;
  v_lost := (
    select l
    from tide.lost_leases as l
    where l.run_id = refuse_report.run_id
      and (refuse_report.lost_lease_id is null or l.lease_id = refuse_report.lost_lease_id)
    order by
      l.worker is not distinct from v_worker desc,
      l.lost_at desc
    limit 1
  );
  if v_lost.run_id is null then
    return;
  end if;
  update tide.lost_leases as l
  set
    stopped_at = case
      when refuse_report.lost_lease_id is not null then tide._now()
      else l.stopped_at
    end,
    refused_error = coalesce(
      case when v_kind = 'step' then sha256(convert_to(v_error::text, 'UTF8')) end,
      l.refused_error
    ),
    refusals = least(l.refusals + 1, 10)
  where l.run_id = v_lost.run_id
    and l.lease_id = v_lost.lease_id;
  if v_lost.refusals < 10 then
    perform tide._log(
      v_lost.run_id,
      'report.refused',
      jsonb_build_object(
        'kind', v_kind,
        'worker', coalesce(v_worker, v_lost.worker),
        'error', v_error
      ),
      renews => false
    );
  end if;
end;
$$;

comment on function tide.refuse_report is
  'Log that the report of a worker that lost the run was refused, event report.refused, and with the '
  'lost_lease_id that this worker was told to stop. Renews nothing; without a lost lease it does nothing.';
