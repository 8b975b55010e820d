-- In SQL, so that it is inlined. What it says no to may be right all the same.
create or replace function tide._is_plain(run jsonb, input jsonb)
returns boolean
language sql
stable
parallel safe
as $$
select pg_catalog.jsonb_typeof(pg_catalog.jsonb_object_field(_is_plain.run, 'workflow'))
    operator(pg_catalog.=) 'string'
  and tide._is_name(pg_catalog.jsonb_object_field_text(_is_plain.run, 'workflow'))
  and (
    tide._is_small(_is_plain.input) is not false
    or tide._payload_problem(_is_plain.input) is null
  )
$$;

comment on function tide._is_plain is
  'Whether an element of enqueue_many or spawn_many has a good workflow and a good input, if any.';
