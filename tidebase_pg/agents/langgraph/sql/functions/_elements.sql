create or replace function tide_langgraph._elements(list_no bigint, length integer)
returns table (place integer, hash bytea)
language sql
stable
as $$
  with recursive line as (
    select
      l.list_no,
      l.parent_no,
      l.shared,
      _elements.length as upto
    from tide_langgraph.lists as l
    where l.list_no = _elements.list_no
    union all
    select
      l.list_no,
      l.parent_no,
      l.shared,
      least(c.upto, c.shared)
    from line as c
    join tide_langgraph.lists as l on l.list_no = c.parent_no
  )
  select
    e.place,
    e.hash
  from line as c
  join tide_langgraph.elements as e
    on e.list_no = c.list_no
    and e.place > c.shared
    and e.place <= c.upto;
$$;

comment on function tide_langgraph._elements is 'The first elements of a list, in no order.';
