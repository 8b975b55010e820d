create or replace function tide._valid_amount(argument text, value numeric)
returns numeric
language plpgsql
immutable
parallel safe
as $$
begin
  if value is null or value between 0 and 1000000000000000 then
    return value;
  end if;
  raise exception '% is out of range: %', _valid_amount.argument, left(value::text, 200)
    using errcode = '22023',
          hint = 'Give an amount from 0 to 1000000000000000.';
end;
$$;

comment on function tide._valid_amount is 'An amount of something, or 22023; null passes.';
