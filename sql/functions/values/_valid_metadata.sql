create or replace function tide._valid_metadata(argument text, metadata jsonb)
returns jsonb
language plpgsql
stable
parallel safe
as $$
begin
  if metadata is null then
    return '{}'::jsonb;
  elsif jsonb_typeof(metadata) = 'object' then
    return tide._valid_payload(argument, metadata);
  end if;
  raise exception '% is not a JSON object: %', _valid_metadata.argument,
      left(metadata::text, 200)
    using errcode = '22023',
          hint = 'Give an object of facts to find the run by, such as {"customer": 42}.';
end;
$$;

comment on function tide._valid_metadata is
  'Facts to find a run by: an object, {} for null, else 22023 or TD040.';
