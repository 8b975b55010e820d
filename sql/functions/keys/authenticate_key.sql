-- Takes the hash, so that a token is in no statement the server could log.
create or replace function tide.authenticate_key(token_hash bytea)
returns table (name text, role text, shared boolean)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_now constant timestamptz := tide._now();
  v_key tide.api_keys;
begin
  perform tide._require_read_committed('authenticate_key');
  v_key := (
    select k
    from tide.api_keys as k
    where k.token_hash = authenticate_key.token_hash
      and k.revoked_at is null
  );
  if v_key.name is null then
    return;
  end if;
  if v_key.last_used_at is null or v_key.last_used_at < v_now - interval '1 minute' then
    -- Whoever holds the row writes the same.
    update tide.api_keys as k
    set last_used_at = v_now
    where k.name = (
      select o.name
      from tide.api_keys as o
      where o.name = v_key.name
      for no key update skip locked
    );
  end if;
  return query select v_key.name, v_key.role, v_key.shared;
end;
$$;

comment on function tide.authenticate_key is
  'The name and role of the key with this sha256 of its token, and whether several workers share it; no '
  'row = unknown or revoked. Gives no right by itself: what the key may do decides the login of its '
  'role.';
