create or replace function tide._payload_problem(value jsonb)
returns text
language plpgsql
stable
parallel safe
as $$
declare
  v_bytes integer;
begin
  if tide._is_small(value) then
    return null;
  end if;
  v_bytes := octet_length(value::text);
  -- No limit is below 4096 bytes: small payloads need no look at the settings.
  if v_bytes > 4096 then
    if v_bytes > (select s.max_payload_bytes from tide.settings as s) then
      return 'payload_too_large';
    end if;
  end if;
  if jsonb_path_exists(value, 'strict $.**{101}')
    or (
      v_bytes > 400
      and jsonb_path_exists(
        value,
        'strict $.** ? (@.type() == "number" && (@ >= 1e400 || @ <= -1e400))'
      )
    )
  then
    return 'bad_payload';
  end if;
  return null;
end;
$$;

comment on function tide._payload_problem is
  'payload_too_large, bad_payload (too deep, or a number nobody can parse), or null.';
