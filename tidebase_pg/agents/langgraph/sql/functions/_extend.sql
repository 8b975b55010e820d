-- A list grows in place while nothing stands there yet, or the same. Where the value goes another
-- way, as after an edit or in a fork, a list of its own shares the elements before.
create or replace function tide_langgraph._extend(
  thread_no bigint,
  base_no bigint,
  keep integer,
  hashes bytea[]
)
returns bigint
language plpgsql
volatile
as $$
declare
  v_count constant integer := cardinality(_extend.hashes);
  v_base tide_langgraph.lists;
  v_list_no bigint;
  v_common integer;
begin
  if _extend.base_no is not null then
    select l.*
    into v_base
    from tide_langgraph.lists as l
    where l.list_no = _extend.base_no
    for no key update;
    if _extend.keep >= v_base.shared then
      select count(*)
      into v_common
      from unnest(_extend.hashes) with ordinality as n(hash, place)
      join tide_langgraph.elements as e
        on e.list_no = v_base.list_no
        and e.place = _extend.keep + n.place
        and e.hash = n.hash;
      if v_common = least(v_count, v_base.length - _extend.keep) then
        if v_common < v_count then
          insert into tide_langgraph.elements (list_no, place, hash)
          select
            v_base.list_no,
            _extend.keep + n.place,
            n.hash
          from unnest(_extend.hashes) with ordinality as n(hash, place)
          where n.place > v_common;
          update tide_langgraph.lists as l
          set length = _extend.keep + v_count
          where l.list_no = v_base.list_no;
        end if;
        return v_base.list_no;
      end if;
    end if;
  end if;

  insert into tide_langgraph.lists (thread_no, parent_no, shared, length, depth)
  values (
    _extend.thread_no,
    case when _extend.keep > 0 and v_base.depth < 16 then v_base.list_no end,
    case when v_base.depth < 16 then _extend.keep else 0 end,
    _extend.keep + v_count,
    case when _extend.keep > 0 and v_base.depth < 16 then v_base.depth + 1 else 0 end
  )
  returning lists.list_no into v_list_no;
  if _extend.keep > 0 and v_base.depth >= 16 then
    insert into tide_langgraph.elements (list_no, place, hash)
    select
      v_list_no,
      e.place,
      e.hash
    from tide_langgraph._elements(v_base.list_no, _extend.keep) as e;
  end if;
  insert into tide_langgraph.elements (list_no, place, hash)
  select
    v_list_no,
    _extend.keep + n.place,
    n.hash
  from unnest(_extend.hashes) with ordinality as n(hash, place);
  return v_list_no;
end;
$$;

comment on function tide_langgraph._extend is
  'The list whose first elements are those of a base and then the given ones.';
