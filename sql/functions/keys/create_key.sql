-- By the login, session_user: inside a security definer function current_user is the owner of the
-- schema, and any role may set a parameter.
create or replace function tide.create_key(
  name text,
  role text,
  shared boolean default false
)
returns text
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_name constant text := tide._valid_name('name', create_key.name);
  v_role constant text := tide._valid_choice(
    'role', create_key.role, '{client,worker,operator,viewer,approver}'
  );
  -- 244 random bits, shown once; what is stored cannot be turned back.
  v_token constant text := 'tide_'
    || replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', '');
begin
  perform tide._require_read_committed('create_key');
  if not exists (
    select
    from pg_roles as r
    where r.rolname in (tide._group_role(v_role), current_user)
      and pg_has_role(session_user, r.oid, 'member')
  ) then
    raise exception 'login % may not make a key for %', session_user, v_role
      using errcode = '42501',
            hint = format(
              'Who makes a key is in %s, or owns the schema.', tide._group_role(v_role)
            );
  end if;
  insert into tide.api_keys (name, role, shared, token_hash, created_at)
  values (
    v_name,
    v_role,
    coalesce(create_key.shared, false),
    sha256(convert_to(v_token, 'UTF8')),
    tide._now()
  )
  on conflict on constraint api_keys_pkey do nothing;
  if not found then
    raise exception 'a key named % exists', v_name
      using errcode = '22023',
            hint = 'Choose another name; that of a revoked key is not used again.';
  end if;
  return v_token;
end;
$$;

comment on function tide.create_key is
  'Make a key of the HTTP door for one role, client, worker, operator, viewer or approver, and return '
  'its token, which is shown this once. shared: several workers use it, so it does not say which of '
  'them holds a run. Nobody makes a key for a role their login is not in: 42501.';
