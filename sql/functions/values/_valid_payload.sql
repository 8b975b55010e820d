-- In SQL, so that it is inlined: most payloads are small, and then nothing is called.
create or replace function tide._valid_payload(argument text, value jsonb)
returns jsonb
language sql
stable
parallel safe
as $$
select case
  when tide._is_small(_valid_payload.value) then _valid_payload.value
  else tide._check_payload(_valid_payload.argument, _valid_payload.value)
end
$$;

comment on function tide._valid_payload is
  'The value (null passes), or TD040 when it is too large, 22023 when clients could not parse it.';
