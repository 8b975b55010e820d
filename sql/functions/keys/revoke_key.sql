create or replace function tide.revoke_key(name text)
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform tide._require_read_committed('revoke_key');
  update tide.api_keys as k
  set revoked_at = tide._now()
  where k.name = revoke_key.name
    and k.revoked_at is null;
  return found;
end;
$$;

comment on function tide.revoke_key is
  'Let a key open nothing any more, for good; false = there is no such key, or it was revoked before.';
