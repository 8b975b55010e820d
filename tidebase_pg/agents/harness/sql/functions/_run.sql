-- Key share: writers do not wait for each other, only for who removes the conversation.
create or replace function tide_harness._run(run_id text, conversation_id text)
returns tide_harness.runs
language plpgsql
volatile
as $$
declare
  v_run tide_harness.runs;
  v_conversation tide_harness.conversations;
begin
  loop
    select r.*
    into v_run
    from tide_harness.runs as r
    where r.run_id = _run.run_id;
    if found then
      select c.*
      into v_conversation
      from tide_harness.conversations as c
      where c.conversation_no = v_run.conversation_no
      for key share;
      exit when found;
    else
      insert into tide_harness.conversations (conversation_id, is_run)
      values (coalesce(_run.conversation_id, _run.run_id), _run.conversation_id is null)
      on conflict do nothing;
      select c.*
      into v_conversation
      from tide_harness.conversations as c
      where c.conversation_id = coalesce(_run.conversation_id, _run.run_id)
        and c.is_run = (_run.conversation_id is null)
      for key share;
      if found then
        insert into tide_harness.runs (run_id, conversation_no)
        values (_run.run_id, v_conversation.conversation_no)
        on conflict do nothing;
      end if;
    end if;
  end loop;
  if v_conversation.touched_at < clock_timestamp() - interval '1 minute' then
    update tide_harness.conversations as c
    set touched_at = clock_timestamp()
    where c.conversation_no = v_run.conversation_no;
  end if;
  return v_run;
end;
$$;

comment on function tide_harness._run is
  'A run, made if need be in its conversation or else on its own; nothing of it is removed until the '
  'transaction ends.';
