create or replace function tide_langgraph.delete_expired_items(max_items integer default 1000)
returns integer
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  return tide_langgraph._delete_expired(greatest(delete_expired_items.max_items, 0));
end;
$$;

comment on function tide_langgraph.delete_expired_items is
  'Remove documents whose time is over, and return how many. They are given to nobody meanwhile; each '
  'put_items removes a few. Call it until it answers 0.';
