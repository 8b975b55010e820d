-- Memories of pydantic-ai-harness: files by path, with versions. New tables only.
create sequence tide_harness.versions;
comment on sequence tide_harness.versions is
  'Versions of files: no file has one twice, also after it was removed and made again.';

create table tide_harness.files (
  path text collate "C" primary key,
  content text not null,
  version bigint not null,
  operation_id text,
  metadata json,
  written_at timestamptz not null default clock_timestamp()
);
comment on table tide_harness.files is 'What agents noted down.';
comment on column tide_harness.files.operation_id is
  'The operation that wrote this version; null = it had none.';
comment on column tide_harness.files.metadata is 'What the write said of itself.';

create table tide_harness.receipts (
  operation_id text primary key,
  fingerprint text not null,
  version bigint,
  existed boolean not null,
  made_at timestamptz not null default clock_timestamp()
);
create index receipts_made_idx on tide_harness.receipts (made_at);
comment on table tide_harness.receipts is
  'Operations that were done: the same one again changes nothing.';
