-- The outcome of a child is read again when its parent replays, so it stays while the parent is
-- active or may be retried, and while a fork of it is.
create or replace function tide._prune(
  queue text,
  before timestamptz,
  max_runs integer,
  keeps text[]
)
returns integer
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
  v_run_ids uuid[];
begin
  if max_runs <= 0 then
    return 0;
  elsif _prune.queue is null then
    v_run_ids := array(
      select r.run_id
      from tide.runs_finished as r
      where r.queue is null
        and r.finished_at < _prune.before
        and not tide._is_asked_for(r.run_id)
      order by r.finished_at
      limit _prune.max_runs
      for update skip locked
    );
  else
    v_run_ids := array(
      select r.run_id
      from tide.runs_finished as r
      where r.queue = _prune.queue
        and r.finished_at < _prune.before
        -- Whose key is still taken answers enqueues.
        and (
          r.dedupe_for is null
          or not exists (
            select
            from tide.held_keys as h
            where h.queue = r.queue
              and h.dedupe_key = r.dedupe_key
              and h.run_id = r.run_id
              and h.until > v_now
          )
        )
        and not tide._is_asked_for(r.run_id)
      order by r.finished_at
      limit _prune.max_runs
      for update skip locked
    );
  end if;
  -- Once more, with what was committed before the rows were locked: a fork may have come between.
  v_run_ids := array(
    select l.run_id
    from unnest(v_run_ids) as l(run_id)
    where not tide._is_asked_for(l.run_id)
  );
  if cardinality(v_run_ids) > 0 then
    perform tide._remove_runs(v_run_ids, keeps);
  end if;
  return cardinality(v_run_ids);
end;
$$;

comment on function tide._prune is
  'Remove finished runs of one queue, null = those without one, that ended before a time.';
