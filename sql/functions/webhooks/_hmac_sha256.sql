-- RFC 2104 over the core sha256(), so that no extension is needed.
create or replace function tide._hmac_sha256(key bytea, message bytea)
returns bytea
language plpgsql
immutable
parallel safe
as $$
declare
  v_key bytea := case when octet_length(key) > 64 then sha256(key) else key end;
  v_inner bytea := decode(repeat('36', 64), 'hex');
  v_outer bytea := decode(repeat('5c', 64), 'hex');
begin
  for v_byte in 0..octet_length(v_key) - 1 loop
    v_inner := set_byte(v_inner, v_byte, get_byte(v_key, v_byte) # 54);
    v_outer := set_byte(v_outer, v_byte, get_byte(v_key, v_byte) # 92);
  end loop;
  return sha256(v_outer || sha256(v_inner || message));
end;
$$;

comment on function tide._hmac_sha256 is 'HMAC-SHA256 of a message.';
