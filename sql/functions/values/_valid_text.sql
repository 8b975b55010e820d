create or replace function tide._valid_text(argument text, value text, max_bytes integer)
returns text
language plpgsql
immutable
parallel safe
as $$
begin
  if octet_length(value) between 1 and max_bytes and value !~ '[[:cntrl:]]' then
    return value;
  end if;
  raise exception '% is not valid: %', _valid_text.argument,
      case
        when value is null then 'null'
        when value = '' then 'it is empty'
        when octet_length(value) > max_bytes
          then format('it has %s bytes', octet_length(value))
        else format('%L holds a control character', left(value, 200))
      end
    using errcode = '22023',
          hint = format('Give 1 to %s bytes without control characters.', max_bytes);
end;
$$;

comment on function tide._valid_text is
  'The value, or 22023: text that people read is not empty, bounded and without control characters.';
