create or replace function tide._check_payload(argument text, value jsonb)
returns jsonb
language plpgsql
stable
parallel safe
as $$
declare
  v_problem constant text := tide._payload_problem(value);
begin
  if v_problem is null then
    return value;
  end if;
  if v_problem = 'payload_too_large' then
    raise exception '% is too large: % bytes', _check_payload.argument,
        octet_length(value::text)
      using errcode = 'TD040',
            detail = format(
              'The limit is %s bytes of JSON text.',
              (select s.max_payload_bytes from tide.settings as s)
            ),
            hint = 'Store it elsewhere and pass a reference, or raise '
                   'tide.settings.max_payload_bytes.';
  end if;
  raise exception '% cannot be read by every client: it is nested deeper than 100 levels '
      'or holds a number of more than 400 digits', _check_payload.argument
    using errcode = '22023',
          hint = 'Flatten the document, or pass the number as text.';
end;
$$;

comment on function tide._check_payload is
  'The value, or TD040 when it is too large, 22023 when clients could not parse it.';
