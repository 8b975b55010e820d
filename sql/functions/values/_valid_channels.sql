create or replace function tide._valid_channels(argument text, channels jsonb)
returns integer
language plpgsql
stable
as $$
declare
  v_channel jsonb;
  v_event text;
begin
  perform tide._valid_elements(argument, channels, '{type,url,secret_name,events}', 10);
  for v_channel in
    select e.element
    from jsonb_array_elements(_valid_channels.channels) with ordinality as e(element, ordinal)
    order by e.ordinal
  loop
    perform tide._valid_choice(
      argument || '.type', coalesce(v_channel ->> 'type', 'webhook'), '{webhook}'
    );
    perform tide._valid_url(
      argument || '.url', tide._option_text(argument || '.url', v_channel -> 'url', 2048)
    );
    perform tide._valid_name(
      argument || '.secret_name',
      coalesce(
        tide._option_text(argument || '.secret_name', v_channel -> 'secret_name', 128), 'default'
      )
    );
    if jsonb_typeof(v_channel -> 'events') not in ('array', 'null') then
      raise exception '%.events is not a list of types: %', _valid_channels.argument,
          left((v_channel -> 'events')::text, 200)
        using errcode = '22023';
    end if;
    for v_event in
      select e.type
      from jsonb_array_elements_text(
        coalesce(nullif(v_channel -> 'events', 'null'), '[]')
      ) as e(type)
      order by e.type
    loop
      perform tide._valid_choice(argument || '.events', v_event, tide._event_types());
    end loop;
  end loop;
  return jsonb_array_length(channels);
end;
$$;

comment on function tide._valid_channels is
  'How many channels there are, or 22023 naming what is wrong with one.';
