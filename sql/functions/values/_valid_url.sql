create or replace function tide._valid_url(argument text, value text)
returns text
language plpgsql
immutable
parallel safe
as $$
declare
  v_port constant text := substring(
    value from '^https?://(?:[[][0-9A-Fa-f:.]+[]]|[A-Za-z0-9._-]+):([0-9]{1,5})(?:[/?]|$)'
  );
begin
  if octet_length(value) <= 2048
    and value ~ '^https?://([[][0-9A-Fa-f:.]+[]]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?([/?][!-~]*)?$'
    and value !~ '#'
    and coalesce(v_port, '443')::integer between 1 and 65535
  then
    return value;
  end if;
  raise exception '% is not a URL for webhooks: %', _valid_url.argument,
      coalesce(quote_literal(left(_valid_url.value, 200)), 'null')
    using errcode = '22023',
          hint = 'Give https:// or http://, a host in ASCII, perhaps a port and a path: at most '
                 '2048 bytes, no user name, no fragment.';
end;
$$;

comment on function tide._valid_url is
  'The value, or 22023. Where it may lead is judged by the dispatcher, when it connects.';
