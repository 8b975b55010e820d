create or replace function tide._is_usable(used jsonb)
returns boolean
language plpgsql
volatile
as $$
begin
  perform tide._parse_used(used, null);
  return true;
exception
  when data_exception or sqlstate 'TD040' then
    return false;
end;
$$;

comment on function tide._is_usable is 'Whether _parse_used reads what a step used.';
