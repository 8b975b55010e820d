create or replace function tide.cancel(
  run_id uuid,
  reason text default null,
  actor text default null,
  cascade boolean default true
)
returns tide.runs
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_reason constant text := tide._valid_note('reason', cancel.reason);
  v_actor constant text := tide._valid_note('actor', cancel.actor);
  v_run tide.runs;
begin
  perform tide._require_run(cancel.run_id);
  v_run := tide._lock_run(cancel.run_id);
  if v_run.finished_at is null then
    perform tide._finish(
      array[cancel.run_id], 'cancelled', reason => v_reason, actor => v_actor
    );
    if not coalesce(cancel.cascade, true) then
      delete from tide.cascades as c
      where c.parent_id = cancel.run_id;
    end if;
    perform tide._stop_holder(v_run);
    v_run := tide._find_run(cancel.run_id);
  end if;
  if v_run.status <> 'cancelled' then
    raise exception 'run % is finished: %', v_run.run_id, v_run.status
      using errcode = 'TD003',
            detail = format('It ended at %s.', v_run.finished_at),
            hint = 'A finished run cannot be cancelled.';
  end if;
  return v_run;
end;
$$;

comment on function tide.cancel is
  'Cancel an active run at once and for good, and its children soon after, unless cascade is false; '
  'again: the same row, first reason kept. Completed or failed: TD003.';
