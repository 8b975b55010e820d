create or replace function tide._claim_from(
  queue text,
  max_runs integer,
  lease interval,
  worker text,
  workflows text[],
  secret uuid
)
returns tide.runs[]
language plpgsql
volatile
as $$
declare
  v_taken constant tide.taken := tide._take(
    _claim_from.queue, _claim_from.max_runs, _claim_from.workflows, push => false
  );
  v_runs tide.runs[];
begin
  if v_taken.run_ids is null then
    return array[]::tide.runs[];
  end if;
  v_runs := tide._lease(
    v_taken.run_ids,
    _claim_from.lease,
    _claim_from.worker,
    _claim_from.secret,
    v_taken.slots,
    (v_taken.settings).budget
  );
  if v_taken.slots is not null then
    perform tide._use_slots(v_taken);
  end if;
  if v_taken.permits is not null then
    perform tide._use_permits(v_taken.settings, v_taken.permits);
  end if;
  return v_runs;
end;
$$;

comment on function tide._claim_from is
  'Lease ready runs of one queue: take runs, slots and permits, write the leases.';
