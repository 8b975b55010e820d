-- RFC 9562 allows a counter in place of random bits. Strong ones cost a server without OpenSSL
-- three system calls: so a batch has one strong id, of which the others take the time, and a hash
-- that keeps them from being guessed from each other. In SQL, so that it is inlined.
create or replace function tide._batch_uuid7(first text, place bigint)
returns uuid
language sql
immutable
parallel safe
as $$
select pg_catalog.textcat(
  pg_catalog.left(_batch_uuid7.first, 18),
  pg_catalog.to_hex(
    pg_catalog.int8or(
      -- The variant, the place, and 44 bits of a hash.
      pg_catalog.int8or(
        x'8000000000000000'::bigint, pg_catalog.int8shl(_batch_uuid7.place, 44)
      ),
      pg_catalog.int8and(
        pg_catalog.hashtextextended(_batch_uuid7.first, _batch_uuid7.place), 17592186044415
      )
    )
  )
)::pg_catalog.uuid
$$;

comment on function tide._batch_uuid7 is
  'An id (UUIDv7) for a place of at most 100000 in a batch, out of one the batch has made as text; '
  'ids of a batch sort by place.';
