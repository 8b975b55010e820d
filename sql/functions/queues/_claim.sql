-- The settings of all queues are read at once, when the claim begins. Of many queues those without
-- ready runs are passed over by a look at the index.
create or replace function tide._claim(
  queues text[],
  max_runs integer,
  lease interval,
  worker text,
  workflows text[]
)
returns tide.runs[]
language plpgsql
volatile
as $$
declare
  v_lease constant interval := tide._valid_lease(_claim.lease);
  v_queue record;
  v_reserved tide.reservation;
  v_runs tide.runs[] := array[]::tide.runs[];
begin
  if not tide._guard(_claim.queues, _claim.max_runs, _claim.worker, _claim.workflows) then
    return v_runs;
  end if;
  for v_queue in
    select
      n.queue,
      q as settings,
      exists (
        select
        from tide.queue_grants as g
        where g.queue = n.queue
      ) as restricted
    from unnest(_claim.queues) with ordinality as n(queue, place)
    left join tide.queues as q on q.queue = n.queue
    where cardinality(_claim.queues) < 10
      or exists (
        select
        from tide.runs_active as r
        where r.queue = n.queue
          and r.ready
      )
    order by n.place
  loop
    if v_queue.restricted then
      perform tide._require_queue(v_queue.queue, 'claim');
    end if;
    v_reserved := tide._reserve(
      v_queue.queue, v_queue.settings, max_runs - cardinality(v_runs), workflows, push => false
    );
    if v_reserved.run_ids is not null then
      v_runs := v_runs || tide._lease(v_reserved, v_lease, worker);
    end if;
    exit when cardinality(v_runs) >= max_runs;
  end loop;
  return v_runs;
end;
$$;

comment on function tide._claim is
  'The leased runs of several queues, one queue after the other in the order given.';
