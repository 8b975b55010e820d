create or replace function tide._optional_text(argument text, value text, max_bytes integer)
returns text
language plpgsql
immutable
parallel safe
as $$
begin
  if value is null then
    return null;
  end if;
  return tide._valid_text(argument, value, max_bytes);
end;
$$;

comment on function tide._optional_text is 'The value as _valid_text judges it; null passes.';
