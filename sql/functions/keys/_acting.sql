-- The names of logins and of keys are apart: a key may be named as a login is.
create or replace function tide._acting(key tide.api_keys)
returns text
language plpgsql
stable
as $$
begin
  return coalesce('key ' || key.name, session_user);
end;
$$;

comment on function tide._acting is
  'Who acts, as requests and votes are written down: key and its name, or without a key the login.';
