create or replace function tide._require_grantor(queue text)
returns boolean
language plpgsql
stable
as $$
begin
  if tide._may_use(_require_grantor.queue) or exists (
    select
    from tide.queue_grants as g
    where g.queue = _require_grantor.queue
      and g.granted_by = session_user
  ) then
    return true;
  end if;
  raise exception 'login % may not say who uses queue %', session_user, _require_grantor.queue
    using errcode = '42501',
          hint = 'The queue is restricted: the owner, its members, or who restricted it may.';
end;
$$;

comment on function tide._require_grantor is
  'True, or 42501: nobody opens a restricted queue to themselves.';
