create or replace function tide_langgraph._has_path(namespace text[], conditions jsonb)
returns boolean
language sql
immutable
parallel safe
as $$
  select not exists (
    select
    from jsonb_to_recordset(_has_path.conditions) as c(at_end boolean, path text[])
    where cardinality(c.path) > cardinality(_has_path.namespace)
      or exists (
        select
        from unnest(c.path) with ordinality as p(label, place)
        where p.label <> '*'
          and p.label <> _has_path.namespace[
            p.place + case
              when c.at_end then cardinality(_has_path.namespace) - cardinality(c.path)
              else 0
            end
          ]
      )
  );
$$;

comment on function tide_langgraph._has_path is
  'Whether a namespace begins, or ends, with all of these paths; * stands for any label.';
