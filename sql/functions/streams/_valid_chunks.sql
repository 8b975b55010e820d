create or replace function tide._valid_chunks(chunks jsonb)
returns jsonb
language plpgsql
stable
parallel safe
as $$
begin
  if chunks is null or jsonb_typeof(chunks) <> 'array' then
    raise exception 'chunks is not a JSON array: %', coalesce(left(chunks::text, 200), 'null')
      using errcode = '22023',
            hint = 'Give an array with one element for each chunk.';
  elsif jsonb_array_length(chunks) not between 1 and 10000 then
    raise exception 'chunks has % elements', jsonb_array_length(chunks)
      using errcode = '22023',
            hint = 'Append 1 to 10000 chunks at a time.';
  end if;
  return tide._valid_payload('chunks', chunks);
end;
$$;

comment on function tide._valid_chunks is
  'The chunks to append, or 22023, or TD040 when together they are too large.';
