create or replace function tide.sign(secret text, body text)
returns text
language plpgsql
immutable
parallel safe
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  return tide._tidebase_signature(
    tide._valid_secret(sign.secret), coalesce(sign.body, '')
  );
end;
$$;

comment on function tide.sign is
  'The header x-tidebase-signature for a body: sha256= and the HMAC-SHA256 in hexadecimal.';
