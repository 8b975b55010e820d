create or replace function tide._valid_note(argument text, value text)
returns text
language plpgsql
immutable
parallel safe
as $$
begin
  if value is null or octet_length(value) <= 4096 then
    return value;
  end if;
  raise exception '% is too long: % bytes', _valid_note.argument, octet_length(value)
    using errcode = '22023',
          hint = 'Give at most 4096 bytes.';
end;
$$;

comment on function tide._valid_note is
  'The value, or 22023: an optional remark of at most 4096 bytes.';
