create or replace function tide_langgraph._matches(value jsonb, conditions jsonb)
returns boolean
language sql
immutable
parallel safe
as $$
  select not exists (
    select
    from jsonb_to_recordset(_matches.conditions) as c(key text, operator text, operand jsonb)
    where (
      case c.operator
        when '$eq' then _matches.value -> c.key is not distinct from c.operand
        when '$ne' then _matches.value -> c.key is distinct from c.operand
        else
          jsonb_typeof(_matches.value -> c.key) = jsonb_typeof(c.operand)
          and case c.operator
            when '$gt' then _matches.value -> c.key > c.operand
            when '$gte' then _matches.value -> c.key >= c.operand
            when '$lt' then _matches.value -> c.key < c.operand
            when '$lte' then _matches.value -> c.key <= c.operand
          end
      end
    ) is not true
  );
$$;

comment on function tide_langgraph._matches is
  'Whether a document meets all conditions; $gt and its like compare only what is of the same type.';
