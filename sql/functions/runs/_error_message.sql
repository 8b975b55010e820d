create or replace function tide._error_message(error jsonb)
returns text
language plpgsql
immutable
parallel safe
as $$
begin
  return coalesce(error ->> 'message', nullif(error, '{}') #>> '{}');
end;
$$;

comment on function tide._error_message is
  'What an error says: its message, or all of it where it has none; null = nothing.';
