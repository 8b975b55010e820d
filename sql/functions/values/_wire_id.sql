create or replace function tide._wire_id(kind text, id uuid)
returns text
language plpgsql
immutable
parallel safe
as $$
begin
  return kind || '_' || replace(id::text, '-', '');
end;
$$;

comment on function tide._wire_id is
  'An id as clients of the HTTP door know it: run_ and 32 hexadecimal digits; null for null.';
