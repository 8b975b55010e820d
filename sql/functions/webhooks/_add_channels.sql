-- A run with channels tells no event by its columns: what it does next is a row, and told to them by
-- _emit, so that a run that tells its events needs no look for channels.
create or replace function tide._add_channels(
  run_id uuid,
  channels jsonb,
  gate_id uuid default null,
  prefix text default '',
  trusted boolean default false
)
returns void
language plpgsql
volatile
as $$
declare
  v_channel jsonb;
  v_position integer := 0;
  v_queue text;
begin
  if coalesce(channels, 'null') in ('null', '[]') then
    return;
  end if;
  perform tide._valid_channels(prefix || 'channels', channels);
  select r.queue
  into v_queue
  from tide.runs_active as r
  where r.run_id = _add_channels.run_id;
  if gate_id is null then
    perform tide._require_urls(v_queue);
  end if;
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
    if not trusted then
      perform tide._require_secret(v_channel ->> 'secret_name', v_queue);
    end if;
    insert into tide.channels (run_id, channel, gate_id, url, secret_name, events)
    values (
      _add_channels.run_id,
      v_position,
      _add_channels.gate_id,
      v_channel ->> 'url',
      coalesce(v_channel ->> 'secret_name', 'default'),
      array(
        select e.type
        from jsonb_array_elements_text(
          coalesce(nullif(v_channel -> 'events', 'null'), '[]')
        ) as e(type)
      )
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
