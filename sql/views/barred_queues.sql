create or replace view tide.barred_queues
with (security_barrier = true) as
select distinct g.queue
from tide.queue_grants as g
where not pg_has_role(
    session_user,
    (
      select n.nspowner
      from pg_namespace as n
      where n.nspname = 'tide'
    ),
    'member'
  )
  and not exists (
    select
    from tide.queue_grants as o
    join pg_roles as r on r.rolname = o.role
    where o.queue = g.queue
      and pg_has_role(session_user, r.oid, 'member')
  );

comment on view tide.barred_queues is
  'Restricted queues the login may not use: views of what runs carry leave them out. Granted to nobody.';
