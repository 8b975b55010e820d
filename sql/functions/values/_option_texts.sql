create or replace function tide._option_texts(argument text, value jsonb, max_texts integer)
returns text[]
language plpgsql
immutable
parallel safe
as $$
declare
  v_texts text[];
begin
  if jsonb_typeof(value) = 'array' then
    v_texts := array(
      select tide._option_text(_option_texts.argument, e.element, 200)
      from jsonb_array_elements(_option_texts.value) as e(element)
    );
    if cardinality(v_texts) between 1 and max_texts and array_position(v_texts, null) is null then
      return v_texts;
    end if;
  end if;
  raise exception '% is not a list of names: %', _option_texts.argument, left(value::text, 200)
    using errcode = '22023',
          hint = format('Give a list of 1 to %s texts.', max_texts);
end;
$$;

comment on function tide._option_texts is
  'A list of texts of up to 200 bytes out of an options object; anything else, and none, is 22023.';
