-- In SQL, so that it is inlined. What it says no to may be right all the same.
create or replace function tide._is_plain(run jsonb)
returns boolean
language sql
immutable
parallel safe
as $$
select pg_catalog.jsonb_typeof(pg_catalog.jsonb_object_field(_is_plain.run, 'workflow'))
    operator(pg_catalog.=) 'string'
  and tide._is_name(pg_catalog.jsonb_object_field_text(_is_plain.run, 'workflow'))
  and tide._is_small(pg_catalog.jsonb_object_field(_is_plain.run, 'input')) is not false
$$;

comment on function tide._is_plain is
  'Whether an element of enqueue_many or spawn_many has a good workflow and, if any, a small input.';
