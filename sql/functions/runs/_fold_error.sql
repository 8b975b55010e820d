-- Bounded first: a message may be as long as a payload.
create or replace function tide._fold_error(message text)
returns text
language plpgsql
immutable
parallel safe
as $$
declare
  v_text text := left(_fold_error.message, 1000);
begin
  v_text := regexp_replace(
    v_text, '[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}', '<id>', 'gi'
  );
  v_text := regexp_replace(v_text, '"[^"]*"', '<text>', 'g');
  -- An apostrophe within a word opens no quotation.
  v_text := regexp_replace(v_text, '(^|[^[:alnum:]])''[^'']*''(?![[:alnum:]])', E'\\1<text>', 'g');
  v_text := regexp_replace(
    v_text, E'\\m(0x[0-9a-f]+|(?=[0-9]*[a-f])(?=[a-f]*[0-9])[0-9a-f]{8,})\\M', '<id>', 'gi'
  );
  v_text := regexp_replace(v_text, '[0-9]+([.,:][0-9]+)*', '<n>', 'g');
  return left(btrim(regexp_replace(v_text, '[[:space:]]+', ' ', 'g')), 300);
end;
$$;

comment on function tide._fold_error is
  'The beginning of a message with ids, quotations and numbers folded, so that errors of one kind read '
  'the same.';
