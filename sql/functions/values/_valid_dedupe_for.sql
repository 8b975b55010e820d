create or replace function tide._valid_dedupe_for(
  prefix text,
  dedupe_for interval,
  dedupe_key text
)
returns interval
language plpgsql
immutable
parallel safe
as $$
begin
  if dedupe_key is null then
    raise exception '% is given without dedupe_key', prefix || 'dedupe_for'
      using errcode = '22023',
            hint = 'Give the key that is to stay taken.';
  end if;
  return tide._valid_interval(
    prefix || 'dedupe_for', dedupe_for, interval '1 millisecond', interval '366 days'
  );
end;
$$;

comment on function tide._valid_dedupe_for is
  'How long a key stays taken after the end of its run, or 22023.';
