-- Events sent under one name become a mailbox. Stops writers of tide.signals for as long as its key
-- is built again.
alter table tide.signals
  add column seq integer not null default 1,
  add column heard_by text;
alter table tide.signals
  drop constraint signals_pkey,
  add constraint signals_pkey primary key (run_id, name, seq);
comment on table tide.signals is
  'Events sent to runs by name: of one name each is heard once, in the order of sending.';
comment on column tide.signals.heard_by is 'The name of the wait that got it; null = none yet.';
update tide.signals as s
set heard_by = s.name
from tide.waits as w
where w.run_id = s.run_id
  and w.kind = 'event'
  and w.name = s.name
  and w.status = 'received';
