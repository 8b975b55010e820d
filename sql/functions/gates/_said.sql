create or replace function tide._said(key text, value text)
returns jsonb
language plpgsql
immutable
parallel safe
as $$
begin
  if value is null then
    return '{}'::jsonb;
  end if;
  return jsonb_build_object(key, value);
end;
$$;

comment on function tide._said is 'An object with one key, or an empty one when nothing was said.';
