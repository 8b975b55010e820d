create or replace function tide.retry(
  run_id uuid,
  actor text default null,
  reset_attempts boolean default true,
  run_at timestamptz default null
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
  v_actor constant text := tide._valid_note('actor', retry.actor);
  v_now constant timestamptz := tide._now();
  v_run_at timestamptz := v_now;
  v_old tide.runs;
  v_run tide.runs;
begin
  perform tide._require_read_committed('retry');
  if retry.run_at is not null then
    v_run_at := tide._valid_time('run_at', retry.run_at);
  end if;
  perform tide._require_run(retry.run_id, 'enqueue');
  v_old := (
    select r::tide.runs
    from tide.runs_finished as r
    where r.run_id = retry.run_id
      and r.status in ('failed', 'cancelled')
    for update
  );
  if v_old.run_id is null then
    v_run := tide._find_run(retry.run_id);
    if v_run.status = 'completed' then
      raise exception 'run % is completed and cannot be retried', v_run.run_id
        using errcode = 'TD030',
              hint = 'Enqueue a new run.';
    end if;
    return v_run;
  end if;

  if v_run_at > v_now + v_old.deadline then
    raise exception 'run_at lies beyond the deadline of run %: %', v_old.run_id, v_run_at
      using errcode = '22023',
            hint = format('A retry has %s from now: give a time within it.', v_old.deadline);
  end if;
  v_run := tide._retry(v_old, v_actor, coalesce(retry.reset_attempts, true), v_run_at);
  return tide._with_input(v_run);
end;
$$;

comment on function tide.retry is
  'Let a failed or cancelled run go on from its checkpoints; an active run is returned as it is. '
  'Completed: TD030; dedupe key taken meanwhile: TD023.';
