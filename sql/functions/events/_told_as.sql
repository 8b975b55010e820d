-- LISTEN asks for no right: who knows the secret recognizes it, and nobody else learns anything.
create or replace function tide._told_as(secret text)
returns text
language plpgsql
immutable
parallel safe
as $$
begin
  return left(encode(sha256(convert_to(secret, 'UTF8')), 'hex'), 32)::uuid::text;
end;
$$;

comment on function tide._told_as is
  'What notifications call a run, a worker that waits, or a session: a uuid of the first 16 bytes of '
  'the sha256 of the id or name as text.';
