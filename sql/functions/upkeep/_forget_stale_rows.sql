create or replace function tide._forget_stale_rows()
returns integer
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
begin
  delete from tide.queue_minutes as m
  where m.minute < v_now - interval '2 days';
  delete from tide.sweep_failures as f
  where f.retry_at < v_now - interval '1 day';
  delete from tide.watchers as w
  where w.run_id = any (
    array(
      select s.run_id
      from tide.watchers as s
      where s.until < v_now
      for update skip locked
    )
  );
  delete from tide.workers as w
  where w.worker = any (
    array(
      select s.worker
      from tide.workers as s
      where s.seen_at < v_now - interval '1 hour'
      for update skip locked
    )
  );
  perform
  from tide.ticks as t
  for no key update skip locked;
  if found then
    update tide.ticks as t
    set reconciled_at = v_now;
  end if;
  return 0;
end;
$$;

comment on function tide._forget_stale_rows is
  'Remove old minutes, workers not seen for an hour, watchers that went and failures nobody met again.';
