create or replace function tide._brief(value jsonb)
returns jsonb
language plpgsql
immutable
parallel safe
as $$
begin
  if length(_brief.value::text) > 2000 then
    return jsonb_build_object(
      'sha256', encode(sha256(convert_to(_brief.value::text, 'UTF8')), 'hex')
    );
  end if;
  return _brief.value;
end;
$$;

comment on function tide._brief is
  'A value to remember; of a long one only its sha256, which tells whether it changed.';
