-- In SQL, so that it is inlined. Postgres reads more than this as a uuid, and clients do not.
create or replace function tide._as_uuid(value text)
returns uuid
language sql
immutable
parallel safe
as $$
select case
  when _as_uuid.value operator(pg_catalog.~) '^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$'
    then _as_uuid.value::pg_catalog.uuid
end
$$;

comment on function tide._as_uuid is 'The id a text is; null where it is none.';
