create or replace function tide._push_queue(queue text, max_runs integer)
returns integer
language plpgsql
volatile
as $$
declare
  v_queue tide.queues;
  v_reserved tide.reservation;
  v_run tide.runs;
  v_seqs integer[] := array[]::integer[];
  v_payloads jsonb[] := array[]::jsonb[];
begin
  v_queue := (
    select q
    from tide.queues as q
    where q.queue = _push_queue.queue
  );
  v_reserved := tide._reserve(
    _push_queue.queue, v_queue, _push_queue.max_runs, null, push => true
  );
  if v_reserved.run_ids is null then
    return 0;
  end if;
  perform tide._write_told_events(v_reserved.run_ids);
  for v_position in 1..cardinality(v_reserved.run_ids) loop
    v_run := (
      select r::tide.runs
      from tide.runs_active as r
      where r.run_id = v_reserved.run_ids[v_position]
    );
    update tide.runs_active as r
    set
      ready = false,
      turn_at = null,
      run_at = null,
      waiting_on = 'push',
      waiting_for = tide._post(
        v_run,
        'run.invoke',
        v_queue.push_url,
        v_queue.push_secret,
        'queue_dispatch',
        expires_in => interval '60 seconds'
      ),
      slot = v_reserved.slots[v_position],
      lane_slot = v_reserved.lane_slots[v_position],
      lane_key_slot = v_reserved.lane_key_slots[v_position],
      units_left = v_reserved.units[v_position],
      dispatched_until = tide._now() + interval '60 seconds',
      dispatches = r.dispatches + 1,
      last_seq = r.last_seq + 1,
      told_events = 0
    where r.run_id = v_run.run_id
    returning r.* into v_run;
    v_seqs := v_seqs || v_run.last_seq;
    v_payloads := v_payloads || jsonb_build_object(
      'delivery_id', v_run.waiting_for,
      'dispatches', v_run.dispatches,
      'until', v_run.dispatched_until
    );
  end loop;
  perform tide._emit(v_reserved.run_ids, v_seqs, 'run.dispatched', v_payloads);
  perform tide._use_reservation(v_reserved);
  return cardinality(v_reserved.run_ids);
end;
$$;

comment on function tide._push_queue is
  'Dispatch ready runs of one push queue: a slot, a permit and a webhook for each.';
