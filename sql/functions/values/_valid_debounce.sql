create or replace function tide._valid_debounce(
  prefix text,
  debounce interval,
  dedupe_key text,
  starts_later boolean,
  on_conflict text
)
returns interval
language plpgsql
immutable
parallel safe
as $$
begin
  if dedupe_key is null or not starts_later or on_conflict not in ('return', 'replace') then
    raise exception '% is given %', prefix || 'debounce',
        case
          when dedupe_key is null then 'without dedupe_key'
          when not starts_later then 'without delay or run_at'
          else 'with on_conflict ' || on_conflict
        end
      using errcode = '22023',
            hint = 'Give a key, as delay how long to wait for a next call, and no on_conflict.';
  end if;
  return tide._valid_interval(
    prefix || 'debounce', debounce, interval '1 millisecond', interval '366 days'
  );
end;
$$;

comment on function tide._valid_debounce is
  'How long enqueues of a key may put off its start, or 22023.';
