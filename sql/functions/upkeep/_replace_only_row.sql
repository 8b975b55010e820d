-- A dump of the extension holds these rows, and create extension makes them: the dump's row wins.
create or replace function tide._replace_only_row()
returns trigger
language plpgsql
as $$
begin
  execute pg_catalog.format('delete from tide.%I', tg_table_name);
  return new;
end;
$$;

comment on function tide._replace_only_row is
  'Lets a restore put its row in place of the one an installation made.';

create or replace trigger settings_row_is_replaced
before insert on tide.settings
for each row execute function tide._replace_only_row();

create or replace trigger role_names_row_is_replaced
before insert on tide.role_names
for each row execute function tide._replace_only_row();

create or replace trigger ticks_row_is_replaced
before insert on tide.ticks
for each row execute function tide._replace_only_row();

create or replace trigger identity_row_is_replaced
before insert on tide.identity
for each row execute function tide._replace_only_row();
