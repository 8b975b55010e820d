-- Threads of LangGraph: checkpoints, what their channels hold, and writes under way. New tables only.
create table tide_langgraph.threads (
  thread_no bigint generated always as identity primary key,
  thread_id text not null,
  touched_at timestamptz not null default clock_timestamp(),
  constraint threads_are_unique unique (thread_id)
);
create index threads_touched_idx on tide_langgraph.threads (touched_at);
comment on table tide_langgraph.threads is
  'One row per thread. Who writes to a thread holds its row for key share, who removes holds it alone.';
comment on column tide_langgraph.threads.touched_at is
  'When the thread was last written to, exact to a minute.';

create table tide_langgraph.blobs (
  thread_no bigint not null,
  hash bytea not null,
  type text not null,
  data bytea not null,
  primary key (thread_no, hash)
);
comment on table tide_langgraph.blobs is
  'Serialized values, each once per thread: elements of lists, other values, values of writes.';

create table tide_langgraph.checkpoints (
  thread_no bigint not null,
  checkpoint_ns text not null,
  checkpoint_id text not null,
  parent_id text,
  checkpoint jsonb not null,
  metadata jsonb not null,
  primary key (thread_no, checkpoint_ns, checkpoint_id)
);
create index checkpoints_run_idx on tide_langgraph.checkpoints ((metadata ->> 'run_id'))
where metadata ? 'run_id';
comment on table tide_langgraph.checkpoints is
  'Checkpoints without the values of their channels.';

create table tide_langgraph.channels (
  thread_no bigint not null,
  checkpoint_ns text not null,
  channel text not null,
  version text not null,
  hash bytea,
  list_no bigint,
  length integer,
  primary key (thread_no, checkpoint_ns, channel, version),
  constraint channels_are_a_blob_or_a_list_or_empty check (
    (list_no is null) = (length is null) and num_nonnulls(hash, list_no) <= 1
  )
);
comment on table tide_langgraph.channels is
  'What a channel held at a version: one blob, the first elements of a list, or nothing.';

create table tide_langgraph.lists (
  list_no bigint generated always as identity primary key,
  thread_no bigint not null,
  parent_no bigint,
  shared integer not null,
  length integer not null,
  depth integer not null,
  constraint lists_share_with_a_parent check (
    (parent_no is null) = (shared = 0) and length >= shared
  )
) with (fillfactor = 70);
create index lists_thread_idx on tide_langgraph.lists (thread_no);
comment on table tide_langgraph.lists is
  'Lists that grow at their end, so that a thousand turns cost a thousand messages and no more. One '
  'that goes another way shares the elements before with its parent.';
comment on column tide_langgraph.lists.shared is 'How many elements are those of the parent.';
comment on column tide_langgraph.lists.depth is 'How many parents there are above.';

create table tide_langgraph.elements (
  list_no bigint not null,
  place integer not null,
  hash bytea not null,
  primary key (list_no, place)
);
comment on table tide_langgraph.elements is 'Which blob stands at which place of a list, from 1.';

create table tide_langgraph.writes (
  thread_no bigint not null,
  checkpoint_ns text not null,
  checkpoint_id text not null,
  task_id text not null,
  idx integer not null,
  task_path text not null,
  channel text not null,
  is_list boolean not null,
  hashes bytea[] not null,
  primary key (thread_no, checkpoint_ns, checkpoint_id, task_id, idx)
);
comment on table tide_langgraph.writes is
  'What tasks of a checkpoint wrote, before and after the next checkpoint takes it up.';
