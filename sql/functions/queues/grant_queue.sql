create or replace function tide.grant_queue(
  queue text,
  role text,
  verbs text[] default '{enqueue,claim}'
)
returns tide.queue_grants
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue constant text := tide._valid_name('queue', grant_queue.queue);
  v_grant tide.queue_grants;
begin
  perform
  from pg_roles as r
  where r.rolname = grant_queue.role;
  if not found then
    raise exception 'role % does not exist',
        coalesce(quote_literal(left(grant_queue.role, 200)), 'null')
      using errcode = '22023',
            hint = 'Name a role of this server.';
  elsif not coalesce(
    grant_queue.verbs <@ '{enqueue,claim}' and cardinality(grant_queue.verbs) > 0, false
  ) then
    raise exception 'verbs is not a list of enqueue and claim: %',
        coalesce(left(grant_queue.verbs::text, 200), 'null')
      using errcode = '22023',
            hint = 'Give {enqueue}, {claim} or both.';
  end if;
  perform tide._require_grantor(v_queue);
  insert into tide.queue_grants as g (queue, role, verbs)
  values (v_queue, grant_queue.role, grant_queue.verbs)
  on conflict on constraint queue_grants_pkey do update
  set
    verbs = excluded.verbs,
    granted_at = clock_timestamp(),
    granted_by = session_user
  returning g.* into v_grant;
  return v_grant;
end;
$$;

comment on function tide.grant_queue is
  'Restrict a queue to logins that are members of the role, beside those granted before. The login '
  'counts, not set role. Needs the right to call the functions as well.';
