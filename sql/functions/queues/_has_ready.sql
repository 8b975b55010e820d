create or replace function tide._has_ready(queue text)
returns boolean
language plpgsql
volatile
as $$
declare
  v_settings tide.queues;
begin
  if not exists (
    select
    from tide.runs_active as r
    where r.ready
      and r.queue = _has_ready.queue
  ) then
    return false;
  end if;
  v_settings := (
    select q
    from tide.queues as q
    where q.queue = _has_ready.queue
  );
  if v_settings.paused or v_settings.push_url is not null then
    return false;
  elsif num_nonnulls(v_settings.concurrency, v_settings.rate_limit) = 0 then
    return true;
  end if;
  return tide._capacity(
    v_settings,
    1,
    case when v_settings.concurrency is null then 0 else tide._count_unslotted(v_settings) end
  ) > 0;
end;
$$;

comment on function tide._has_ready is
  'Whether a claim from a queue would find a run: one is ready, and cap and rate seem to allow it.';
