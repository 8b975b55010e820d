-- Group roles of an installation may have names of their own. New table only.
create table tide.role_names (
  only_row boolean primary key default true,
  prefix text not null default 'tide_',
  constraint role_names_has_one_row check (only_row),
  constraint role_names_prefix_is_plain check (
    prefix ~ '^[a-z_][a-z0-9_]{0,39}$' and prefix !~ '^pg_'
  )
);
comment on table tide.role_names is 'How the group roles are called; exactly one row.';
comment on column tide.role_names.prefix is
  'What their names begin with, chosen when the schema is installed.';
insert into tide.role_names default values;
