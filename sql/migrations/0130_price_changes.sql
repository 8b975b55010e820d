-- tide: with the functions
-- Who set which price, who changed lanes and the retention. Short lock: a rule of a small table is read
-- over; functions that gain an actor are made again in this transaction.
alter table tide.setting_changes drop constraint setting_changes_kind_known;
alter table tide.setting_changes add constraint setting_changes_kind_known check (
  kind in ('queue', 'lane', 'schedule', 'installation', 'price')
);
comment on table tide.setting_changes is
  'What was changed about queues, lanes, schedules, the installation and prices, by whom. Rows are only '
  'added, and removed when the retention of the installation has passed.';
comment on column tide.setting_changes.name is
  'Of the queue, lane or schedule; of a price provider/model; null = the installation.';
drop function if exists tide.set_retention;
drop function if exists tide.set_price;
