-- By the login, as _may_use. The owner is current_user here, in whatever role the call was made.
create or replace function tide._speaks_for_others()
returns boolean
language plpgsql
stable
as $$
begin
  return pg_has_role(session_user, current_user, 'member') or exists (
    select
    from pg_roles as r
    where r.rolname = tide._group_role('operator')
      and pg_has_role(session_user, r.oid, 'member')
  );
end;
$$;

comment on function tide._speaks_for_others is
  'Whether the login may name any actor: operators and the owner may, others are who they log in as.';
