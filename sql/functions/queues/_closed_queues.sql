create or replace function tide._closed_queues(verb text default null)
returns text[]
language plpgsql
stable
as $$
begin
  return array(
    select distinct g.queue
    from tide.queue_grants as g
    where not tide._may_use(g.queue, _closed_queues.verb)
    order by g.queue
  );
end;
$$;

comment on function tide._closed_queues is
  'Restricted queues the login may not use, or not for a verb.';
