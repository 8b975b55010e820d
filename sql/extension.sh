#!/bin/sh
# Prints the script of the extension tidebase from the files of this folder.
# sh sql/extension.sh VERSION          for create extension
# sh sql/extension.sh VERSION NNNN     for alter extension update, from a release whose last
#                                      migration was NNNN
set -eu
LC_ALL=C
export LC_ALL
version=$1
after=${2:-0000}
cd "$(dirname "$0")"

if command -v sha256sum > /dev/null; then
  hash() { sha256sum "$1" | cut -d ' ' -f 1; }
else
  hash() { shasum -a 256 "$1" | cut -d ' ' -f 1; }
fi

# When a migration runs, as its first line says it: the order of tidebase-pg install.
when() {
  case $(head -n 1 "$1") in
    '-- tide: '*'after the deploy'*) echo last ;;
    '-- tide: '*'no transaction'* | '-- tide: '*'after the functions'*) echo after ;;
    '-- tide: '*'with the functions'*)
      # Tables are locked as late as it can be.
      if grep -q '^alter table ' "$1"; then echo late; else echo with; fi
      ;;
    *) echo before ;;
  esac
}

migrations() {
  for migration in migrations/*.sql; do
    name=$(basename "$migration")
    if [ "${name%%_*}" -gt "$after" ] && [ "$(when "$migration")" = "$1" ]; then
      echo "-- $migration"
      # The script is one transaction; on a busy system the command's upgrade is the gentler way.
      sed 's/index concurrently/index/' "$migration"
      echo "insert into tide.migrations (name, sha256) values ('$name', '$(hash "$migration")');"
    fi
  done
}

files() {
  for file in "$@"; do
    echo "-- $file"
    cat "$file"
  done
}

cat << 'SQL'
\echo Use "create extension tidebase" or "alter extension tidebase update". \quit
set local check_function_bodies = off;
set local search_path = pg_catalog, pg_temp;
SQL
cat header.sql
migrations before
migrations with
# shellcheck disable=SC2046 # names of files, without spaces
files $(grep -L 'create or replace trigger' functions/*/*.sql)
migrations late
# shellcheck disable=SC2046
files $(grep -l 'create or replace trigger' functions/*/*.sql)
files views/*.sql roles.sql grants.sql
migrations after
migrations last
cat << SQL
insert into tide.installs (version, functions_sha256) values ('$version', 'extension');

-- Without this pg_dump would leave out every row, and where a count has got to. The ledger is written by create extension itself.
do \$\$
declare
  v_table regclass;
begin
  for v_table in
    select c.oid
    from pg_catalog.pg_class as c
    where c.relnamespace = 'tide'::regnamespace
      and c.relkind in ('r', 'S')
      and c.relname not in ('migrations', 'installs', 'turns')
      and c.oid <> all (
        array(
          select pg_catalog.unnest(e.extconfig)
          from pg_catalog.pg_extension as e
          where e.extname = 'tidebase'
        )
      )
    order by c.relname
  loop
    perform pg_catalog.pg_extension_config_dump(v_table, '');
  end loop;
end;
\$\$;
SQL
