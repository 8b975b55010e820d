create or replace function tide_langgraph._language(name text)
returns regconfig
language plpgsql
stable
as $$
declare
  v_language regconfig;
begin
  select c.oid
  into v_language
  from pg_catalog.pg_ts_config as c
  where c.cfgname = _language.name
    and c.cfgnamespace = 'pg_catalog'::regnamespace;
  if not found then
    raise exception 'there is no text search for language %',
        coalesce(quote_literal(left(_language.name, 200)), 'null')
      using errcode = '22023',
            hint = 'Give one of those psql lists with \dF, or simple.';
  end if;
  return v_language;
end;
$$;

comment on function tide_langgraph._language is 'A text search configuration of Postgres by name, or 22023.';
