-- The message shows nothing of the secret.
create or replace function tide._valid_secret(secret text)
returns text
language plpgsql
immutable
parallel safe
as $$
begin
  if starts_with(secret, 'whsec_') then
    if secret ~ '^whsec_([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$'
      and octet_length(decode(substring(secret from 7), 'base64')) between 24 and 64
    then
      return secret;
    end if;
  elsif octet_length(secret) between 16 and 256 and secret !~ '[[:cntrl:]]' then
    return secret;
  end if;
  raise exception 'secret is not usable: it has % bytes',
      coalesce(octet_length(secret)::text, 'no')
    using errcode = '22023',
          hint = 'Give whsec_ and the base64 of 24 to 64 random bytes, or any text of 16 to '
                 '256 bytes.';
end;
$$;

comment on function tide._valid_secret is 'The secret of a webhook, or 22023.';
