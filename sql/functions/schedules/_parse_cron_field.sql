create or replace function tide._parse_cron_field(
  cron text,
  field text,
  value text,
  low integer,
  high integer,
  names text[] default '{}'
)
returns bit varying
language plpgsql
immutable
parallel safe
as $$
declare
  v_bits bit varying := repeat('0', _parse_cron_field.high - low + 1)::bit varying;
  v_item text;
  v_parts text[];
  v_from integer;
  v_until integer;
  v_step integer;
begin
  foreach v_item in array string_to_array(_parse_cron_field.value, ',') loop
    v_parts := regexp_match(
      v_item,
      '^(?:([*])|([a-z]{3}|[0-9]{1,2})(?:-([a-z]{3}|[0-9]{1,2}))?)(?:/([0-9]{1,2}))?$'
    );
    v_step := coalesce(v_parts[4]::integer, 1);
    if v_parts[1] is not null then
      v_from := low;
      v_until := high;
    else
      v_from := tide._cron_number(v_parts[2], low, names);
      v_until := case
        when v_parts[3] is not null then tide._cron_number(v_parts[3], low, names)
        when v_parts[4] is not null then greatest(v_from, high)
        else v_from
      end;
      -- Sunday is 0 and 7; as the end of a range that begins on another day it is 7.
      if field = 'day of week' and v_parts[3] = 'sun' and v_from > 0 then
        v_until := 7;
      end if;
    end if;
    if v_parts is null
      or v_from is null
      or v_until is null
      or v_from < low
      or v_until < v_from
      or v_until > high + (field = 'day of week')::integer
      or v_step not between 1 and high
    then
      raise exception 'cron field % is not valid: %', field, quote_literal(left(v_item, 100))
        using errcode = '22023',
              detail = format('The expression is %L.', cron),
              hint = format(
                'Give *, a number from %s to %s%s, a range, or a list of them, each with an '
                'optional step such as */5.',
                low,
                high + (field = 'day of week')::integer,
                case when names = '{}' then '' else format(' or a name such as %s', names[2]) end
              );
    end if;
    for v_number in v_from..v_until by v_step loop
      v_bits := set_bit(v_bits, (v_number - low) % (high - low + 1), 1);
    end loop;
  end loop;
  return v_bits;
end;
$$;

comment on function tide._parse_cron_field is
  'The values of one cron field as bits, the lowest first, or 22023 naming field and value.';
