-- One statement instead of five, for the claims of a busy worker. What it says no to is looked at
-- by what acts on it. A worker that is known has valid queues, workflows and a valid name.
create or replace function tide._is_routine(queues text[], worker text, workflows text[])
returns boolean
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
begin
  return exists (
    select
    from tide.ticks as t
    where t.next_at > v_now
      and t.paused_at is null
      and exists (
        select
        from tide.workers as w
        where w.worker = _is_routine.worker
          and w.seen_at > v_now - interval '10 seconds'
          and w.queues = _is_routine.queues
          and w.workflows is not distinct from _is_routine.workflows
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
        from tide.queue_grants as g
        where g.queue = any (_is_routine.queues)
      )
  );
end;
$$;

comment on function tide._is_routine is
  'Whether a claim is as the last one of its worker, no tick is due, nothing is paused or to be made '
  'ready, and no queue is restricted: then nothing has to be done before it takes runs.';
