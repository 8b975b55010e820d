-- A run with channels tells no event by its columns: what it does next is a row, and told to them by
-- _emit, so that a run that tells its events needs no look for channels.
create or replace function tide._add_channels(
  run_id uuid,
  channels jsonb,
  gate_id uuid default null,
  prefix text default ''
)
returns void
language plpgsql
volatile
as $$
declare
  v_channel jsonb;
  v_events text[];
  v_position integer := 0;
  v_argument text;
  v_event text;
begin
  if coalesce(channels, 'null') in ('null', '[]') then
    return;
  end if;
  perform tide._valid_elements(
    prefix || 'channels', channels, '{type,url,secret_name,events}', 10
  );
  select coalesce(max(c.channel), 0)
  into v_position
  from tide.channels as c
  where c.run_id = _add_channels.run_id;
  for v_channel in
    select e.element
    from jsonb_array_elements(_add_channels.channels) with ordinality as e(element, ordinality)
    order by e.ordinality
  loop
    v_position := v_position + 1;
    v_argument := prefix || 'channels';
    perform tide._valid_choice(
      v_argument || '.type', coalesce(v_channel ->> 'type', 'webhook'), '{webhook}'
    );
    if jsonb_typeof(v_channel -> 'events') not in ('array', 'null') then
      raise exception '%.events is not a list of types: %', v_argument,
          left((v_channel -> 'events')::text, 200)
        using errcode = '22023';
    end if;
    v_events := array(
      select e.type
      from jsonb_array_elements_text(
        coalesce(nullif(v_channel -> 'events', 'null'), '[]')
      ) as e(type)
    );
    foreach v_event in array v_events loop
      perform tide._valid_choice(v_argument || '.events', v_event, tide._event_types());
    end loop;
    insert into tide.channels (run_id, channel, gate_id, url, secret_name, events)
    values (
      _add_channels.run_id,
      v_position,
      _add_channels.gate_id,
      tide._valid_url(
        v_argument || '.url', tide._option_text(v_argument || '.url', v_channel -> 'url', 2048)
      ),
      tide._valid_name(
        v_argument || '.secret_name',
        coalesce(
          tide._option_text(v_argument || '.secret_name', v_channel -> 'secret_name', 128),
          'default'
        )
      ),
      v_events
    );
  end loop;
  perform tide._write_told_events(array[_add_channels.run_id]);
  update tide.runs_active as r
  set told_events = 0
  where r.run_id = _add_channels.run_id
    and r.told_events > 0;
end;
$$;

comment on function tide._add_channels is
  'Store where events of a run, or of one of its gates, are sent; 22023 naming what is wrong. The caller '
  'has made or locked the run.';
