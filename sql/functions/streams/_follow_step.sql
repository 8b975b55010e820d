create or replace function tide._follow_step()
returns trigger
language plpgsql
as $$
begin
  if new.attempt <> old.attempt then
    perform tide._restart_stream(new.run_id, w.stream, new.name, new.attempt, new.lease_id)
    from (
      select distinct s.stream
      from tide.stream_chunks as s
      where s.run_id = new.run_id
        and s.step = new.name
    ) as w;
    perform tide._notify_readers(new.run_id);
  elsif new.status = 'completed' then
    perform tide._join_chunks(new.run_id, new.name);
  end if;
  return null;
end;
$$;

comment on function tide._follow_step is
  'Has the chunks of a step follow it: void when it is begun once more, joined when it completes.';

create or replace trigger steps_take_their_streams_along
after update on tide.steps
for each row
when (new.streamed and (new.attempt <> old.attempt or new.status <> old.status))
execute function tide._follow_step();
