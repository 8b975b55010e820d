create or replace function tide_langgraph._has_value(
  thread_no bigint,
  checkpoint_ns text,
  checkpoint_id text,
  channel text
)
returns boolean
language sql
stable
as $$
  select exists (
    select
    from tide_langgraph.checkpoints as p
    where p.thread_no = _has_value.thread_no
      and p.checkpoint_ns = _has_value.checkpoint_ns
      and p.checkpoint_id = _has_value.checkpoint_id
      and (
        p.checkpoint -> 'channel_values' ? _has_value.channel
        or exists (
          select
          from tide_langgraph.channels as c
          where c.thread_no = p.thread_no
            and c.checkpoint_ns = p.checkpoint_ns
            and c.channel = _has_value.channel
            and c.version = p.checkpoint -> 'channel_versions' ->> _has_value.channel
            and num_nonnulls(c.hash, c.list_no) = 1
        )
      )
  );
$$;

comment on function tide_langgraph._has_value is
  'Whether a checkpoint has a value of the channel itself, not only writes since an ancestor.';
