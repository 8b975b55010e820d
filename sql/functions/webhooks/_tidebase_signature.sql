create or replace function tide._tidebase_signature(secret text, body text)
returns text
language plpgsql
immutable
parallel safe
as $$
begin
  return 'sha256=' || encode(
    tide._hmac_sha256(convert_to(secret, 'UTF8'), convert_to(body, 'UTF8')), 'hex'
  );
end;
$$;

comment on function tide._tidebase_signature is
  'The header x-tidebase-signature: HMAC of the body with the text of the secret as key.';
