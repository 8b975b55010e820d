-- A run whose children run in its own process is silent meanwhile. Rows somebody else holds are left
-- alone: who works on them renews them, or the next call does.
create or replace function tide.renew_run(
  run_id uuid,
  worker text default null,
  identity text default 'address',
  lease interval default '60 seconds'
)
returns integer
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_worker constant text := tide._valid_worker(renew_run.worker);
  v_identity constant text := tide._valid_choice(
    'identity', renew_run.identity, '{process,key,address}'
  );
  v_until constant timestamptz := tide._now() + tide._valid_lease(renew_run.lease);
  v_run tide.runs;
  v_run_ids uuid[] := array[]::uuid[];
  v_held uuid[];
  v_passed uuid[];
begin
  perform tide._require_read_committed('renew_run');
  perform tide._require_run(renew_run.run_id, 'claim');
  v_run := (
    select r::tide.runs
    from tide.runs_active as r
    where r.run_id = renew_run.run_id
  );
  if v_run.run_id is null then
    perform tide._find_run(renew_run.run_id);
  elsif v_run.status = 'running'
    and tide._judge_caller(v_run, v_worker, v_identity) <> 'stranger'
  then
    v_run_ids := array[v_run.run_id];
    -- A child of a queue has a worker of its own, and its parent is not in that process.
    while v_run.parent_id is not null
      and v_run.queue is null
      and v_run.parent_id <> all (v_run_ids)
    loop
      v_run := (
        select r::tide.runs
        from tide.runs_active as r
        where r.run_id = v_run.parent_id
          and r.status = 'running'
      );
      exit when v_run.run_id is null;
      v_run_ids := v_run_ids || v_run.run_id;
    end loop;
  end if;
  v_held := array(
    select l.run_id
    from tide.runs_active as l
    where l.run_id = any (v_run_ids)
      and l.leased_until is not null
    order by l.run_id
    for no key update skip locked
  );
  update tide.runs_active as r
  set leased_until = greatest(r.leased_until, v_until)
  where r.run_id = any (v_held);
  v_passed := array(
    select r.run_id
    from tide.runs_active as r
    where r.run_id = any (v_run_ids)
      and r.run_id <> all (v_held)
      and r.leased_until is not null
  );
  if cardinality(v_passed) > 0 then
    perform tide._renew_beside(v_passed, renew_run.lease);
  end if;
  return cardinality(v_held) + cardinality(v_passed);
end;
$$;

comment on function tide.renew_run is
  'Renew the lease of a running run, and of the running ancestors that wait for it in the same process, '
  'for a caller without a lease; returns how many. Never waits, revives nothing.';
