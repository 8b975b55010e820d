create or replace function tide._valid_setting(
  key text,
  type text,
  low text,
  high text,
  value jsonb
)
returns jsonb
language plpgsql
stable
as $$
declare
  v_number numeric;
  v_interval interval;
begin
  if coalesce(value, 'null') = 'null' then
    return null;
  end if;
  case type
    when 'boolean' then
      return to_jsonb(tide._option_boolean(key, value));
    when 'integer' then
      return to_jsonb(tide._option_integer(key, value, low::bigint, high::bigint));
    when 'number' then
      v_number := tide._option_number(key, value);
      if v_number not between low::numeric and high::numeric then
        raise exception '% is out of range: %', _valid_setting.key, left(v_number::text, 200)
          using errcode = '22023',
                hint = format('Give a number from %s to %s.', low, high);
      end if;
      return to_jsonb(v_number);
    when 'whole' then
      v_number := tide._option_number(key, value);
      if v_number not between low::numeric and high::numeric or v_number <> trunc(v_number) then
        raise exception '% is out of range: %', _valid_setting.key, left(v_number::text, 200)
          using errcode = '22023',
                hint = format('Give a whole number from %s to %s.', low, high);
      end if;
      return to_jsonb(trunc(v_number));
    when 'interval' then
      v_interval := tide._option_interval(key, value);
      return to_jsonb(
        tide._valid_interval(key, v_interval, low::interval, high::interval)
      );
    when 'choices' then
      return to_jsonb(tide._option_choices(key, value, array[low, high]));
    when 'texts' then
      return to_jsonb(tide._option_texts(key, value, high::integer));
    when 'budget' then
      return tide._valid_budget(value);
    when 'url' then
      return to_jsonb(tide._valid_url(key, tide._option_text(key, value, 2048)));
    when 'channels' then
      perform tide._valid_channels(key, value);
      return value;
    when 'weights' then
      return tide._valid_weights(key, value);
    else  -- name
      return to_jsonb(tide._valid_name(key, tide._option_text(key, value, 128)));
  end case;
end;
$$;

comment on function tide._valid_setting is
  'The value of a setting as its column takes it, or 22023 naming the key; null clears.';
