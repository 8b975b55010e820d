create or replace function tide._merge_settings(queue tide.queues, settings jsonb)
returns tide.queues
language plpgsql
stable
as $$
declare
  v_queue tide.queues := _merge_settings.queue;
  v_key text;
  v_value jsonb;
  v_interval interval;
  v_number numeric;
begin
  for v_key, v_value in
    select
      o.key,
      o.value
    from jsonb_each(_merge_settings.settings) as o(key, value)
  loop
    case v_key
      when 'paused' then
        v_queue.paused := coalesce(tide._option_boolean(v_key, v_value), false);
      when 'budget' then
        v_queue.budget := tide._valid_budget(nullif(v_value, 'null'));
      when 'push_url' then
        v_queue.push_url := tide._option_text(v_key, v_value, 2048);
        if v_queue.push_url is not null then
          perform tide._valid_url(v_key, v_queue.push_url);
        end if;
      when 'push_secret' then
        v_queue.push_secret := tide._option_text(v_key, v_value, 128);
        if v_queue.push_secret is not null then
          perform tide._valid_name(v_key, v_queue.push_secret);
        end if;
      when 'retention_keeps' then
        v_queue.retention_keeps := tide._option_choices(v_key, v_value, '{gates,usage}');
      when 'concurrency' then
        v_queue.concurrency := tide._option_integer(v_key, v_value, 1, 2000);
      when 'rate_limit' then
        v_queue.rate_limit := tide._option_integer(v_key, v_value, 1, 10000);
      when 'max_attempts' then
        v_queue.max_attempts := tide._option_integer(v_key, v_value, 1, 100);
      when 'backoff_jitter' then
        v_number := tide._option_number(v_key, v_value);
        if v_number not between 0 and 1 then
          raise exception 'backoff_jitter is out of range: %', left(v_number::text, 200)
            using errcode = '22023',
                  hint = 'Give a number from 0 to 1.';
        end if;
        v_queue.backoff_jitter := v_number;
      else
        v_interval := tide._option_interval(v_key, v_value);
        if v_interval is not null then
          v_interval := tide._valid_interval(
            v_key,
            v_interval,
            case v_key when 'rate_period' then interval '100 milliseconds' else '0' end,
            case v_key when 'retention' then interval '36500 days' else '365 days' end
          );
        end if;
        case v_key
          when 'rate_period' then
            v_queue.rate_period := coalesce(v_interval, '1 minute');
          when 'backoff_base' then
            v_queue.backoff_base := v_interval;
          when 'backoff_max' then
            v_queue.backoff_max := v_interval;
          when 'retention' then
            v_queue.retention := v_interval;
        end case;
    end case;
  end loop;
  return v_queue;
end;
$$;

comment on function tide._merge_settings is
  'The queue with the settings of an object laid over it, or 22023 naming the key.';
