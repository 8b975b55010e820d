-- The receipt is made first: the same operation from elsewhere waits for it.
create or replace function tide_harness.change_file(
  path text,
  content text default null,
  metadata json default null,
  expected_version text default null,
  operation_id text default null,
  fingerprint text default null
)
returns table (
  outcome text,
  version text,
  existed boolean
)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_existed constant boolean := change_file.expected_version is not null;
  v_version bigint;
  v_done boolean;
begin
  if change_file.operation_id is not null then
    insert into tide_harness.receipts (operation_id, fingerprint, existed)
    values (change_file.operation_id, change_file.fingerprint, v_existed)
    on conflict do nothing;
    if not found then
      return query
      select
        case when r.fingerprint = change_file.fingerprint then 'replayed' else 'reused' end,
        r.version::text,
        r.existed
      from tide_harness.receipts as r
      where r.operation_id = change_file.operation_id;
      return;
    end if;
  end if;
  if change_file.content is null and v_existed then
    delete from tide_harness.files as f
    where f.path = change_file.path
      and f.version::text = change_file.expected_version;
    v_done := found;
  elsif change_file.content is null then
    v_done := not exists (
      select
      from tide_harness.files as f
      where f.path = change_file.path
    );
  elsif v_existed then
    update tide_harness.files as f
    set
      content = change_file.content,
      version = nextval('tide_harness.versions'),
      operation_id = change_file.operation_id,
      metadata = change_file.metadata,
      written_at = clock_timestamp()
    where f.path = change_file.path
      and f.version::text = change_file.expected_version
    returning f.version
    into v_version;
    v_done := found;
  else
    insert into tide_harness.files as f (path, content, version, operation_id, metadata)
    values (
      change_file.path,
      change_file.content,
      nextval('tide_harness.versions'),
      change_file.operation_id,
      change_file.metadata
    )
    on conflict do nothing
    returning f.version
    into v_version;
    v_done := found;
  end if;
  if v_done then
    update tide_harness.receipts as r
    set version = v_version
    where r.operation_id = change_file.operation_id
      and v_version is not null;
  else
    delete from tide_harness.receipts as r
    where r.operation_id = change_file.operation_id;
  end if;
  return query select
    case when v_done then 'done' else 'conflict' end,
    v_version::text,
    v_existed;
end;
$$;

comment on function tide_harness.change_file is
  'Write a file, or with content null remove it, if it has expected_version (null = there is none). The '
  'outcome is done, conflict (nothing was changed), replayed (the operation was done before) or reused (it '
  'was another one).';
