create or replace function tide_harness.read_files(
  prefix text,
  max_files integer,
  max_chars integer
)
returns table (
  path text,
  content text
)
language sql
stable
parallel safe
security definer
set search_path = pg_catalog, pg_temp
as $$
  select
    f.path,
    left(f.content, read_files.max_chars)
  from tide_harness.files as f
  where f.path >= read_files.prefix
    and f.path < read_files.prefix || '~'
    and strpos(substr(f.path, length(read_files.prefix) + 1), '/') = 0
  order by f.path
  limit read_files.max_files
$$;

comment on function tide_harness.read_files is
  'How the files directly below a prefix begin, in the order of their paths.';
