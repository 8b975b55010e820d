create or replace function tide._valid_importance(importance text)
returns text
language plpgsql
immutable
parallel safe
as $$
begin
  if importance in ('transient', 'normal', 'checkpoint', 'milestone') then
    return importance;
  end if;
  raise exception 'importance is not known: %',
      coalesce(quote_literal(left(importance, 200)), 'null')
    using errcode = '22023',
          hint = 'Give transient, normal, checkpoint or milestone.';
end;
$$;

comment on function tide._valid_importance is 'The importance of a state version, or 22023.';
