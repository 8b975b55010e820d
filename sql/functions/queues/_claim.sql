-- Of many queues those without ready runs are passed over by a look at the index.
create or replace function tide._claim(
  queues text[],
  max_runs integer,
  lease interval,
  worker text,
  workflows text[],
  session_id uuid default null,
  holding uuid[] default null,
  ahead integer default 0
)
returns tide.runs[]
language plpgsql
volatile
as $$
declare
  v_most constant integer := max_runs + ahead;
  v_lease constant interval := tide._valid_lease(_claim.lease);
  v_queues text[] := queues;
  v_queue text;
  v_settings tide.queues;
  v_reserved tide.reservation;
  v_runs tide.runs[] := array[]::tide.runs[];
begin
  if not tide._guard(_claim.queues, v_most, _claim.worker, _claim.workflows) then
    return v_runs;
  end if;
  if holding is not null then
    v_runs := tide._leased_before(
      _claim.session_id, _claim.holding, _claim.queues, v_most, v_lease
    );
    if cardinality(v_runs) >= v_most then
      return v_runs;
    end if;
  end if;
  if cardinality(queues) > 10 then
    v_queues := array(
      select n.queue
      from unnest(_claim.queues) with ordinality as n(queue, place)
      where exists (
        select
        from tide.runs_active as r
        where r.queue = n.queue
          and r.ready
      )
      order by n.place
    );
  end if;
  foreach v_queue in array v_queues loop
    v_settings := (
      select q
      from tide.queues as q
      where q.queue = v_queue
    );
    v_reserved := tide._reserve(
      v_queue,
      v_settings,
      max_runs - cardinality(v_runs),
      workflows,
      push => false,
      ahead => v_most - greatest(max_runs, cardinality(v_runs))
    );
    if v_reserved.run_ids is not null then
      v_runs := v_runs || tide._lease(v_reserved, v_lease, worker, session_id);
    end if;
    exit when cardinality(v_runs) >= v_most;
  end loop;
  return v_runs;
end;
$$;

comment on function tide._claim is
  'The leased runs of several queues, one queue after the other in the order given; first those '
  'leased before under the session that are not in holding. Where nothing limits them, up to ahead '
  'more than max_runs.';
