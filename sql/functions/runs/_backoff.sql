create or replace function tide._backoff(run tide.runs)
returns interval
language plpgsql
volatile
as $$
declare
  v_queue tide.queues;
  v_base double precision;
  v_max double precision;
  v_jitter double precision;
begin
  v_queue := (
    select q
    from tide.queues as q
    where q.queue = run.queue
  );
  v_base := extract(
    epoch from coalesce((run.backoff ->> 'base')::interval, v_queue.backoff_base, '5 seconds')
  );
  v_max := extract(
    epoch from coalesce((run.backoff ->> 'max')::interval, v_queue.backoff_max, '5 minutes')
  );
  v_jitter := coalesce((run.backoff ->> 'jitter')::double precision, v_queue.backoff_jitter, 0.1);
  -- The exponent is clamped: power(2, 1024) is an error, and so is an interval of that length.
  return make_interval(
    secs => least(v_max, v_base * power(2, least(greatest(run.attempt - 1, 0), 20)))
      * (1 + random() * v_jitter)
  );
end;
$$;

comment on function tide._backoff is
  'Delay before the next attempt: min(max, base * 2^(attempt - 1)) and a random share on top; as '
  'the run says, else its queue, else 5 seconds to 5 minutes.';
