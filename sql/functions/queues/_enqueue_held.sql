create or replace function tide._enqueue_held(run tide.new_run)
returns tide.enqueued
language plpgsql
volatile
as $$
declare
  v_answer tide.enqueued;
  v_until timestamptz;
begin
  if run.on_conflict = 'cancel' then
    return null;
  end if;
  select
    h.run_id,
    true,
    (
      select r.status
      from tide.runs_finished as r
      where r.run_id = h.run_id
    ),
    h.until
  into
    v_answer.run_id,
    v_answer.deduplicated,
    v_answer.status,
    v_until
  from tide.held_keys as h
  where h.queue = run.queue
    and h.dedupe_key = run.dedupe_key
    and h.until > tide._now();
  if found and run.on_conflict = 'raise' then
    raise exception 'run % of queue % still holds dedupe key %',
        v_answer.run_id, run.queue, quote_literal(run.dedupe_key)
      using errcode = 'TD023',
            detail = format('It is %s; the key is free from %s.', v_answer.status, v_until),
            hint = 'Wait until then, or use on_conflict return or cancel.';
  end if;
  return v_answer;
end;
$$;

comment on function tide._enqueue_held is
  'Answer an enqueue whose dedupe key a finished run still holds; null when none does, or when the '
  'newest run of the key is to count.';
