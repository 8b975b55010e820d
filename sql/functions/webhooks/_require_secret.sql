create or replace function tide._require_secret(name text, queue text)
returns boolean
language plpgsql
stable
as $$
declare
  v_name constant text := coalesce(name, 'default');
  v_grant tide.secret_grants;
begin
  v_grant := (
    select g
    from tide.secret_grants as g
    where g.name = v_name
  );
  if (v_grant.name is null and v_name = 'default')
    or queue = any (v_grant.queues)
    or tide._speaks_for_others()
    or exists (
      select
      from pg_roles as r
      where r.rolname = any (v_grant.roles)
        and pg_has_role(session_user, r.oid, 'member')
    )
  then
    return true;
  end if;
  raise exception 'secret % does not exist, or does not sign what login % sends',
      quote_literal(left(v_name, 200)), session_user
    using errcode = '42501',
          hint = 'An operator calls tide.grant_secret for the queue or for a role of the login.';
end;
$$;

comment on function tide._require_secret is
  'True, or 42501: the secret belongs neither to the queue nor to a role of the login.';
