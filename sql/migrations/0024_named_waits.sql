-- Waits say which event they wait for. Locks tide.waits for a moment; no rewrite.
alter table tide.waits add column event text;
comment on column tide.waits.event is
  'The event it waits for, where that is not its own name: the second wait for one name has another.';
