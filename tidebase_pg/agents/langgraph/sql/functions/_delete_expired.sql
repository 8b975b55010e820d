create or replace function tide_langgraph._delete_expired(max_items integer)
returns integer
language sql
volatile
as $$
  with expired as (
    select
      i.namespace,
      i.key
    from tide_langgraph.items as i
    where i.expires_at <= clock_timestamp()
    order by i.expires_at
    limit _delete_expired.max_items
    for update skip locked
  ), deleted as (
    delete from tide_langgraph.items as i
    using expired as e
    where i.namespace = e.namespace
      and i.key = e.key
    returning i.key
  )
  select count(*)::integer
  from deleted as d;
$$;

comment on function tide_langgraph._delete_expired is
  'Remove documents whose time is over, the oldest first, and say how many.';
