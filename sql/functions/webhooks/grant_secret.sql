create or replace function tide.grant_secret(
  name text,
  queues text[] default '{}',
  roles text[] default '{}'
)
returns tide.secret_grants
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_name constant text := tide._valid_name('name', grant_secret.name);
  v_queues constant text[] := case
    when coalesce(grant_secret.queues, '{}') = '{}' then '{}'
    else tide._valid_queues(grant_secret.queues)
  end;
  v_role text;
  v_grant tide.secret_grants;
begin
  select o.role
  into v_role
  from unnest(grant_secret.roles) as o(role)
  where not exists (
    select
    from pg_roles as r
    where r.rolname = o.role
  )
  order by o.role
  limit 1;
  if found then
    raise exception 'role % does not exist', coalesce(quote_literal(left(v_role, 200)), 'null')
      using errcode = '22023',
            hint = 'Name roles of this server.';
  end if;
  perform tide._require_queue(n.queue)
  from unnest(v_queues) as n(queue);
  insert into tide.secret_grants as g (name, queues, roles)
  values (v_name, v_queues, coalesce(grant_secret.roles, '{}'))
  on conflict on constraint secret_grants_pkey do update
  set
    queues = excluded.queues,
    roles = excluded.roles,
    granted_at = clock_timestamp(),
    granted_by = session_user
  returning g.* into v_grant;
  return v_grant;
end;
$$;

comment on function tide.grant_secret is
  'Say whose a secret of webhooks is, instead of what was said before: it signs what runs of the '
  'queues send, and what logins that are members of the roles send. Operators use any secret.';
