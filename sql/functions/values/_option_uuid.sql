create or replace function tide._option_uuid(argument text, value jsonb)
returns uuid
language plpgsql
immutable
parallel safe
as $$
declare
  v_id uuid;
begin
  if value is null or jsonb_typeof(value) = 'null' then
    return null;
  end if;
  v_id := tide._as_uuid(value #>> '{}');
  if v_id is not null then
    return v_id;
  end if;
  raise exception '% is not a uuid: %', _option_uuid.argument, left(value::text, 200)
    using errcode = '22023',
          hint = 'Give it as text, for example "019a0b1c-2d3e-7f40-8a5b-6c7d8e9f0a1b".';
end;
$$;

comment on function tide._option_uuid is
  'An id out of an options object; null passes, anything else that is none is 22023.';
