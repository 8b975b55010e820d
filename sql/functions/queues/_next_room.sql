create or replace function tide._next_room(queues text[], now timestamptz)
returns timestamptz
language plpgsql
stable
as $$
declare
  v_queue text;
  v_settings tide.queues;
  v_at timestamptz;
  v_permit timestamptz;
begin
  foreach v_queue in array queues loop
    v_settings := (
      select q
      from tide.queues as q
      where q.queue = v_queue
    );
    continue when v_settings.paused or v_settings.push_url is not null;
    continue when not exists (
      select
      from tide.runs_active as r
      where r.ready
        and r.queue = v_queue
    );
    -- Ready and yet not claimed: no slot, no permit, another workflow, or held by somebody.
    select min(p.available_at)
    into v_permit
    from tide.permits as p
    where p.queue = v_queue;
    v_at := least(
      v_at,
      case
        when v_permit > _next_room.now then v_permit
        else _next_room.now + interval '1 second'
      end
    );
  end loop;
  return v_at;
end;
$$;

comment on function tide._next_room is
  'When to look again at queues whose ready runs could not be claimed; null = none has any.';
