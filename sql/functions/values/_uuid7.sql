-- plpgsql on purpose: the branch for PostgreSQL 18 names a function older servers lack, and an
-- unreached statement is never planned.
create or replace function tide._uuid7()
returns uuid
language plpgsql
volatile
as $$
declare
  v_microseconds bigint;
begin
  if current_setting('server_version_num')::integer >= 180000 then
    return uuidv7();
  end if;
  v_microseconds := (extract(epoch from clock_timestamp()) * 1000000)::bigint;
  -- RFC 9562, method 3: 48 bits of milliseconds, then the fraction of a millisecond in 12 bits.
  return encode(
    overlay(
      overlay(
        uuid_send(gen_random_uuid())
        placing substring(int8send(v_microseconds / 1000) from 3) from 1 for 6
      )
      placing substring(
        int4send(x'7000'::integer | ((v_microseconds % 1000) * 4096 / 1000)::integer) from 3
      ) from 7 for 2
    ),
    'hex'
  )::uuid;
end;
$$;

comment on function tide._uuid7 is
  'A new time-ordered id (UUIDv7), so that indexes grow at one end and ids sort by age.';
