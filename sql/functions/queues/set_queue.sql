-- Claims read the settings when they begin, without a lock: those under way end under the settings
-- they read, and the runs they lease without a slot count until they end.
create or replace function tide.set_queue(queue text, settings jsonb, actor text default null)
returns tide.queues
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue constant text := tide._valid_name('queue', set_queue.queue);
  v_actor constant text := tide._valid_note('actor', set_queue.actor);
  v_old tide.queues;
  v_new tide.queues;
begin
  perform tide._require_read_committed('set_queue');
  perform tide._require_queue(v_queue);
  insert into tide.queues (queue)
  values (v_queue)
  on conflict on constraint queues_pkey do nothing;
  v_old := (
    select q
    from tide.queues as q
    where q.queue = v_queue
    for no key update
  );

  v_new := tide._merge_settings(v_old, set_queue.settings);
  update tide.queues as q
  set
    paused = v_new.paused,
    concurrency = v_new.concurrency,
    rate_limit = v_new.rate_limit,
    rate_period = v_new.rate_period,
    max_attempts = v_new.max_attempts,
    backoff_base = v_new.backoff_base,
    backoff_max = v_new.backoff_max,
    backoff_jitter = v_new.backoff_jitter,
    retention = v_new.retention,
    retention_keeps = v_new.retention_keeps,
    push_url = v_new.push_url,
    push_secret = v_new.push_secret,
    gate_channels = v_new.gate_channels,
    operator_urls = v_new.operator_urls,
    budget = v_new.budget,
    updated_at = tide._now()
  where q.queue = v_queue
  returning q.* into v_new;
  perform tide._note_change(
    'queue',
    v_queue,
    v_queue,
    v_actor,
    jsonb_strip_nulls(to_jsonb(v_old) - 'updated_at'),
    jsonb_strip_nulls(to_jsonb(v_new) - 'updated_at')
  );
  perform tide._set_slots(v_queue, v_new.concurrency);
  perform tide._set_permits(v_old, v_new);
  perform tide._wake_workers(v_queue, 1000);
  return v_new;
end;
$$;

comment on function tide.set_queue is
  'Change settings of a queue: absent keys stay as they are, null clears. Caps hold for claims that '
  'begin after the commit; running runs are never stopped, they count.';
