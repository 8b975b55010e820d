-- A login that is called role:NAME is not thereby a member of it.
create or replace function tide._is_assigned(assignees text[], actor text)
returns boolean
language plpgsql
stable
as $$
begin
  return exists (
    select
    from unnest(_is_assigned.assignees) as a(assignee)
    left join pg_roles as r on 'role:' || r.rolname = a.assignee
    where (a.assignee = _is_assigned.actor and a.assignee !~ '^role:')
      or pg_has_role(session_user, r.oid, 'member')
  );
end;
$$;

comment on function tide._is_assigned is
  'Whether a list of assignees names the actor, or with role:NAME a role the login is a member of.';
