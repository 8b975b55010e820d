-- A strong random number costs a server without OpenSSL three system calls: so a claim draws one, that
-- is no lease itself and is kept by nobody. In SQL, so that it is inlined.
create or replace function tide._lease_id(secret uuid, run_id uuid)
returns uuid
language sql
immutable
parallel safe
as $$
select pg_catalog.overlay(
  pg_catalog.overlay(
    pg_catalog.left(
      pg_catalog.encode(
        pg_catalog.sha256(
          pg_catalog.byteacat(
            pg_catalog.uuid_send(_lease_id.secret), pg_catalog.uuid_send(_lease_id.run_id)
          )
        ),
        'hex'
      ),
      32
    ),
    -- Version and variant: some clients refuse what is no UUID of RFC 9562.
    '4',
    13
  ),
  'a',
  17
)::pg_catalog.uuid
$$;

comment on function tide._lease_id is
  'The lease of a run (a UUIDv4) out of a secret of its claim; who knows one lease can guess no other.';
