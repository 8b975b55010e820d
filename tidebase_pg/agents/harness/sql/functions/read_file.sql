create or replace function tide_harness.read_file(path text, max_chars integer)
returns table (
  content text,
  version text,
  operation_id text,
  is_truncated boolean,
  metadata text
)
language sql
stable
parallel safe
security definer
set search_path = pg_catalog, pg_temp
as $$
  select
    left(f.content, read_file.max_chars),
    f.version::text,
    f.operation_id,
    length(f.content) > read_file.max_chars,
    f.metadata::text
  from tide_harness.files as f
  where f.path = read_file.path
$$;

comment on function tide_harness.read_file is 'How a file begins, and its version.';
