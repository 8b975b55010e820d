create or replace function tide.adopt(mode text default 'resume', actor text default null)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_mode constant text := tide._valid_choice('mode', adopt.mode, '{resume,skip_missed,quarantine}');
  v_actor constant text := tide._valid_note('actor', adopt.actor);
  v_now constant timestamptz := tide._now();
  v_here constant tide.identity := tide._here();
  v_last uuid := uuid '00000000-0000-0000-0000-000000000000';
  v_run_ids uuid[];
  v_cancelled bigint := 0;
  v_skipped bigint := 0;
  v_dropped bigint := 0;
begin
  perform tide._require_read_committed('adopt');
  perform tide._wait_for_turn('adopt');
  perform tide._note_change(
    'installation',
    null,
    null,
    v_actor,
    jsonb_build_object('paused', tide._paused_at() is not null),
    jsonb_build_object('paused', false, 'adopted', v_mode)
  );
  if v_mode = 'quarantine' then
    loop
      v_run_ids := array(
        select r.run_id
        from tide.runs_active as r
        where r.run_id > v_last
        order by r.run_id
        limit 1000
        for no key update
      );
      exit when cardinality(v_run_ids) = 0;
      v_last := v_run_ids[cardinality(v_run_ids)];
      perform tide._finish(
        v_run_ids, 'cancelled', reason => 'quarantined', actor => coalesce(v_actor, session_user)
      );
      v_cancelled := v_cancelled + cardinality(v_run_ids);
    end loop;
  end if;
  if v_mode <> 'resume' then
    perform tide._drop_due_fires(s, v_now)
    from tide.schedules as s
    where s.next_fire_at <= v_now;
    update tide.schedules as s
    set next_fire_at = tide._next_fire(s.timing, v_now, s.time_zone)
    where s.next_fire_at <= v_now;
    get diagnostics v_skipped = row_count;
    update tide.deliveries as d
    set
      status = 'dropped',
      finished_at = v_now,
      token = null,
      error = 'adopted'
    where d.status = 'pending';
    get diagnostics v_dropped = row_count;
  end if;
  update tide.identity as i
  set
    system_identifier = v_here.system_identifier,
    database_oid = v_here.database_oid,
    timeline = v_here.timeline,
    failed_over_at = case when v_mode = 'resume' then v_now end,
    adopted_at = v_now;
  delete from tide.pauses;
  -- A row that is held is not paused: whoever holds it carries a tick.
  update tide.ticks as t
  set
    next_at = v_now,
    paused_at = null,
    paused_by = null,
    pause_reason = null
  where t.only_row in (
    select o.only_row
    from tide.ticks as o
    for no key update skip locked
  );
  perform pg_notify('tide_work', '*');
  return jsonb_build_object(
    'mode', v_mode,
    'cancelled_runs', v_cancelled,
    'skipped_schedules', v_skipped,
    'dropped_deliveries', v_dropped
  );
end;
$$;

comment on function tide.adopt is
  'Put a restored copy to work. resume = it takes the place of the original; skip_missed = so, but '
  'fires and webhooks due by now are passed over; quarantine = everything active is cancelled as '
  'well, as for a staging copy. Returns what was done, as jsonb.';
