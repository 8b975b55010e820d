create or replace function tide._merge_settings(queue tide.queues, settings jsonb)
returns tide.queues
language plpgsql
stable
as $$
begin
  perform tide._known_keys(
    'settings',
    _merge_settings.settings,
    array(
      select s.key
      from tide._queue_settings() as s
    )
  );
  return jsonb_populate_record(
    _merge_settings.queue,
    (
      select jsonb_object_agg(
        s.key,
        coalesce(
          tide._valid_setting(
            s.key, s.type, s.low, s.high, _merge_settings.settings -> s.key
          ),
          s.initial
        )
      )
      from tide._queue_settings() as s
      where _merge_settings.settings ? s.key
    )
  );
end;
$$;

comment on function tide._merge_settings is
  'The queue with the settings of an object laid over it, or 22023 naming the key.';
