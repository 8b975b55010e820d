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
  v_now constant timestamptz := tide._now();
  v_alone boolean;
  v_plain boolean;
  v_routine boolean := false;
  v_secret uuid;
  v_picked uuid[];
  v_queue text;
  v_runs tide.runs[] := array[]::tide.runs[];
begin
  if not tide._require_read_committed('claim') then
    return v_runs;
  end if;
  if worker is not null then
    -- As in _take, before anything that the settings decide is read.
    v_alone := cardinality(queues) = 1
      and pg_try_advisory_xact_lock_shared(1953064038, hashtext(queues[1]));
    select
      v_alone and u.plain,
      u.secret
    into
      v_plain,
      v_secret
    from tide._undisturbed(_claim.queues, _claim.worker, _claim.workflows, v_now) as u;
    v_routine := found;
    if v_plain then
      v_picked := tide._pick_plain(queues[1], max_runs, workflows);
      if cardinality(v_picked) = 0 then
        return v_runs;
      elsif v_picked is not null then
        return tide._lease(v_picked, v_lease, worker, v_secret);
      end if;
    end if;
  end if;
  if not v_routine then
    perform tide._valid_worker(worker);
    if coalesce(cardinality(queues), 0) not between 1 and 1000
      or array_ndims(queues) > 1
      or array_ndims(workflows) > 1
      or array_position(queues, null) is not null
      or array_position(workflows, null) is not null
    then
      raise exception 'queues or workflows is not a list of names: % and %',
          coalesce(left(queues::text, 200), 'null'),
          coalesce(left(workflows::text, 200), 'null')
        using errcode = '22023',
              hint = 'Name 1 to 1000 queues; workflows null = any.';
    end if;
    if not tide._tick(greatest(100, 2 * max_runs)) then
      return v_runs;
    end if;
    -- Of a queue that is being changed nothing is known.
    if v_alone or worker is not null and cardinality(queues) > 1 then
      perform tide._remember_worker(worker, queues, workflows, v_alone);
    end if;
  end if;
  foreach v_queue in array queues loop
    continue when not tide._require_queue(v_queue, 'claim');
    v_runs := v_runs || tide._claim_from(
      v_queue, max_runs - cardinality(v_runs), v_lease, worker, workflows, v_secret
    );
    exit when cardinality(v_runs) >= max_runs;
  end loop;
  return v_runs;
end;
$$;

comment on function tide._claim is
  'The leased runs of several queues, one queue after the other in the order given.';
