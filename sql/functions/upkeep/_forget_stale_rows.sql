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
  delete from tide.workers as w
  where w.seen_at < v_now - interval '1 hour';
  delete from tide.sweep_failures as f
  where f.retry_at < v_now - interval '1 day';
  update tide.ticks as t
  set reconciled_at = v_now;
  return 0;
end;
$$;

comment on function tide._forget_stale_rows is
  'Remove old minutes, workers not seen for an hour and failures nobody met again.';
