-- One look for what most claims find: nothing to do. What is asked for here is looked at again by
-- what acts on it. A worker that is known has valid queues, workflows and a valid name.
create or replace function tide._guard(
  queues text[],
  max_runs integer,
  worker text,
  workflows text[]
)
returns boolean
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
  v_known boolean;
  v_restricted boolean;
  v_routine boolean;
begin
  if not tide._require_read_committed('claim') then
    return false;
  end if;
  select
    coalesce(
      w.seen_at > v_now - interval '10 seconds'
        and w.queues = _guard.queues
        and w.workflows is not distinct from _guard.workflows,
      false
    ),
    exists (
      select
      from tide.queue_grants as g
      where g.queue = any (_guard.queues)
    ),
    t.next_at > v_now
      and (t.next_at <= v_now + interval '10 seconds' or t.next_at = 'infinity')
      and t.paused_at is null
      and not exists (
        select
        from tide.pauses as p
      )
      and not exists (
        select
        from tide.runs_active as r
        where r.status = 'queued'
          and not r.ready
          and r.run_at <= v_now
      )
      and not exists (
        select
        from tide.runs_active as r
        where r.deadline_at is not null
          and r.deadline_at <= v_now
      )
  into
    v_known,
    v_restricted,
    v_routine
  from tide.ticks as t
  left join tide.workers as w on w.worker = _guard.worker;
  if v_known and v_routine and not v_restricted then
    return true;
  end if;
  if not v_known then
    perform tide._valid_worker(_guard.worker);
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
  end if;
  if v_restricted then
    perform tide._require_queue(n.queue, 'claim')
    from unnest(_guard.queues) as n(queue);
  end if;
  if not v_routine and not tide._tick(greatest(100, 2 * max_runs)) then
    return false;
  end if;
  if not v_known and worker is not null then
    perform tide._remember_worker(worker, queues, workflows);
  end if;
  return true;
end;
$$;

comment on function tide._guard is
  'Check what a claim names and do what has to be done before it: a tick, due runs made ready, the '
  'worker noted. False while the installation is paused: then nothing may be claimed.';
