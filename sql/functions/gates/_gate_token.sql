create or replace function tide._gate_token(gate_id uuid)
returns text
language plpgsql
stable
as $$
begin
  return encode(
    tide._hmac_sha256(
      (
        select s.gate_secret
        from tide.settings as s
      ),
      convert_to(_gate_token.gate_id::text, 'UTF8')
    ),
    'hex'
  );
end;
$$;

comment on function tide._gate_token is
  'The token of a gate that can be shown again, to those who may decide it.';
