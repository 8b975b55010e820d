create or replace function tide._input_hash(input jsonb)
returns bytea
language plpgsql
immutable
parallel safe
as $$
declare
  v_text text := coalesce(input, 'null')::text;
begin
  -- jsonb has one order of keys and one form of everything but the zeros after a decimal point.
  if v_text ~ '[.][0-9]*0(?![0-9])' then
    v_text := tide._without_scale(input)::text;
  end if;
  return sha256(convert_to(v_text, 'UTF8'));
end;
$$;

comment on function tide._input_hash is
  'sha256 of the canonical form of a value: neither the order of keys nor 1 or 1.0 matters.';
