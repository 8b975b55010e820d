-- A tsvector has an end, at 1 MB; text has none. What stands behind is not found.
create or replace function tide_langgraph._words(value jsonb, language regconfig)
returns tsvector
language sql
immutable
parallel safe
as $$
  select to_tsvector(
    _words.language,
    left(string_agg(t.text #>> '{}', ' '), 100000)
  )
  from jsonb_path_query(_words.value, 'strict $.** ? (@.type() == "string")') as t(text);
$$;

comment on function tide_langgraph._words is
  'The words of all texts in a document, of its first 100000 characters of text.';
