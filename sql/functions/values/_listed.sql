create or replace function tide._listed(words jsonb)
returns text
language plpgsql
immutable
parallel safe
as $$
begin
  return (
    select string_agg(w.word, ' or ' order by w.ordinal)
    from jsonb_array_elements_text(_listed.words) with ordinality as w(word, ordinal)
  );
end;
$$;

comment on function tide._listed is 'An array of words as text: a or b.';
