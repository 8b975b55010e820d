-- Many keys share a login, so the login does not say who acts: the hash of the key does.
create or replace function tide._acting_key(key_hash bytea)
returns tide.api_keys
language plpgsql
stable
as $$
declare
  v_key tide.api_keys;
begin
  if key_hash is null then
    return null;
  end if;
  v_key := (
    select k
    from tide.api_keys as k
    where k.token_hash = _acting_key.key_hash
      and k.revoked_at is null
  );
  if v_key.name is null then
    raise exception 'no key has this hash, or it was revoked'
      using errcode = '42501',
            hint = 'Give the sha256 of the token of a key of create_key, or no hash.';
  end if;
  return v_key;
end;
$$;

comment on function tide._acting_key is
  'The key of the HTTP door that acts, by the sha256 of its token; null = the login itself. Unknown '
  'or revoked: 42501.';
