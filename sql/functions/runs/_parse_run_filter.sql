create or replace function tide._parse_run_filter(filters jsonb, keys text[], before uuid)
returns tide.run_filter
language plpgsql
stable
as $$
declare
  v_filter tide.run_filter;
  v_before constant uuid := tide._lowest_run_id(
    tide._option_time('created_before', _parse_run_filter.filters -> 'created_before')
  );
  v_statuses constant text[] := array[
    'pending', 'queued', 'running', 'completed', 'failed', 'cancelled'
  ];
  v_waits constant text[] := array[
    'review', 'gate', 'children', 'timer', 'event', 'budget', 'push', 'lane', 'provider',
    'after'
  ];
begin
  perform tide._known_keys('filters', _parse_run_filter.filters, _parse_run_filter.keys);
  v_filter.status := tide._option_text('status', filters -> 'status', 20);
  if v_filter.status is not null then
    perform tide._valid_choice('status', v_filter.status, v_statuses);
  end if;
  v_filter.waiting_on := tide._option_text('waiting_on', filters -> 'waiting_on', 20);
  if v_filter.waiting_on is not null then
    perform tide._valid_choice('waiting_on', v_filter.waiting_on, v_waits);
  end if;
  v_filter.queue := tide._option_text('queue', filters -> 'queue', 1000);
  v_filter.workflow := tide._option_text('workflow', filters -> 'workflow', 1000);
  v_filter.failure_class := tide._option_text('failure_class', filters -> 'failure_class', 1000);
  v_filter.error := tide._option_text('error', filters -> 'error', 1000);
  v_filter.step := tide._option_text('step', filters -> 'step', 1000);
  v_filter.fingerprint := tide._option_text('fingerprint', filters -> 'fingerprint', 100);
  v_filter.finished_after := tide._option_time('finished_after', filters -> 'finished_after');
  v_filter.finished_before := tide._option_time('finished_before', filters -> 'finished_before');
  v_filter.metadata := nullif(filters -> 'metadata', 'null');
  if jsonb_typeof(v_filter.metadata) <> 'object' then
    raise exception 'metadata is not a JSON object: %', left(v_filter.metadata::text, 200)
      using errcode = '22023',
            hint = 'Give an object; runs whose metadata contain it are found.';
  end if;
  v_filter.oldest := tide._lowest_run_id(
    tide._option_time('created_after', filters -> 'created_after')
  );
  v_filter.before := least(_parse_run_filter.before, v_before);
  return v_filter;
end;
$$;

comment on function tide._parse_run_filter is
  'Which runs to look for, out of an object with these keys, or 22023 naming the key.';
