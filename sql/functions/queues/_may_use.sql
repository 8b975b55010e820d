-- By the login, session_user: inside a security definer function current_user is the owner, and any
-- role may set a parameter.
create or replace function tide._may_use(queue text, verb text default null)
returns boolean
language plpgsql
stable
as $$
begin
  if not exists (
    select
    from tide.queue_grants as g
    where g.queue = _may_use.queue
  ) then
    return true;
  end if;
  -- The owner reads the tables anyway.
  return pg_has_role(session_user, current_user, 'member') or exists (
    select
    from tide.queue_grants as g
    join pg_roles as r on r.rolname = g.role
    where g.queue = _may_use.queue
      and (_may_use.verb is null or _may_use.verb = any (g.verbs))
      and pg_has_role(session_user, r.oid, 'member')
  );
end;
$$;

comment on function tide._may_use is
  'Whether the login may enqueue to or claim from a queue, or, without a verb, either.';
