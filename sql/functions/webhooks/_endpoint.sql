create or replace function tide._endpoint(url text)
returns text
language plpgsql
immutable
parallel safe
as $$
begin
  return lower(substring(url from '^https?://[^/?]+'));
end;
$$;

comment on function tide._endpoint is 'Scheme, host and port of a URL.';
