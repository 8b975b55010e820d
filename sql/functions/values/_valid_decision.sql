create or replace function tide._valid_decision(argument text, value text)
returns text
language plpgsql
immutable
parallel safe
as $$
begin
  if value in ('approved', 'rejected', 'canceled') then
    return value;
  end if;
  raise exception '% is not known: %', _valid_decision.argument,
      coalesce(quote_literal(left(_valid_decision.value, 200)), 'null')
    using errcode = '22023',
          hint = 'Give approved, rejected or canceled.';
end;
$$;

comment on function tide._valid_decision is 'A decision about a gate, or 22023.';
