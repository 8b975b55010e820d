create or replace function tide._counted_class(
  classes text[],
  error jsonb,
  failure_class text
)
returns text
language plpgsql
immutable
parallel safe
as $$
begin
  return (
    select c.class
    from (
      values
        (1, _counted_class.error ->> 'type'),
        (2, _counted_class.failure_class)
      union all
      select
        3,
        e.type #>> '{}'
      from jsonb_path_query(_counted_class.error, '$.errors[*].type') as e(type)
    ) as c(place, class)
    where c.class = any (_counted_class.classes)
    order by
      c.place,
      c.class
    limit 1
  );
end;
$$;

comment on function tide._counted_class is
  'As which of the classes a failure counts: by the type of its error, its failure class, or the type of '
  'an error in a group; null = as none.';
