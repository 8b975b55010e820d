create or replace function tide._valid_priority(priority integer)
returns integer
language plpgsql
immutable
parallel safe
as $$
begin
  if priority is null then
    return null;
  end if;
  return tide._valid_integer('priority', priority, -32768, 32767);
end;
$$;

comment on function tide._valid_priority is 'A priority, or 22023; null passes.';
