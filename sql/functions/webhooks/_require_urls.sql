create or replace function tide._require_urls(queue text)
returns boolean
language plpgsql
stable
as $$
begin
  if not exists (
    select
    from tide.queues as q
    where q.queue = _require_urls.queue
      and q.operator_urls
  ) or tide._speaks_for_others()
  then
    return true;
  end if;
  raise exception 'login % may not say where runs of queue % send to', session_user,
      _require_urls.queue
    using errcode = '42501',
          hint = 'The queue has operator_urls: leave out channels and recovery_url.';
end;
$$;

comment on function tide._require_urls is
  'True, or 42501: only operators choose channels and recovery URLs of runs of the queue.';
