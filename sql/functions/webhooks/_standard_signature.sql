create or replace function tide._standard_signature(
  secret text,
  message_id text,
  sent_at bigint,
  body text
)
returns text
language plpgsql
immutable
parallel safe
as $$
begin
  return 'v1,' || encode(
    tide._hmac_sha256(
      case
        when starts_with(secret, 'whsec_') then decode(substring(secret from 7), 'base64')
        else convert_to(secret, 'UTF8')
      end,
      convert_to(format('%s.%s.%s', message_id, sent_at, body), 'UTF8')
    ),
    'base64'
  );
end;
$$;

comment on function tide._standard_signature is
  'One signature of the header webhook-signature, as Standard Webhooks has it; sent_at in seconds '
  'since 1970.';
