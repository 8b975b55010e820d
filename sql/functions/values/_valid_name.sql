-- In SQL, so that it is inlined: a call of its own costs more than the look.
create or replace function tide._valid_name(argument text, value text)
returns text
language sql
immutable
parallel safe
as $$
select case
  when tide._is_name(_valid_name.value) then _valid_name.value
  else tide._refuse_name(_valid_name.argument, _valid_name.value)
end
$$;

comment on function tide._valid_name is
  'The value, or 22023: names of queues and workflows are short, printable and ASCII.';
