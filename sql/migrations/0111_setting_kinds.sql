-- tide: after the functions
-- Rows from before the check are held against it. Blocks neither readers nor writers.
alter table tide.setting_changes validate constraint setting_changes_kind_known;
