-- LISTEN asks for no right: whoever knows a run recognizes it, and nobody else learns its id.
create or replace function tide._told_as(run_id uuid)
returns text
language plpgsql
immutable
parallel safe
as $$
begin
  return left(encode(sha256(convert_to(run_id::text, 'UTF8')), 'hex'), 32)::uuid::text;
end;
$$;

comment on function tide._told_as is
  'What notifications call a run: a uuid of the first 16 bytes of the sha256 of its id.';
