create or replace function tide._refuse_other_child(known tide.run_edges, child jsonb)
returns void
language plpgsql
stable
as $$
declare
  v_child tide.runs;
begin
  v_child := (
    select r
    from tide.runs as r
    where r.run_id = known.child_id
  );
  v_child := tide._with_input(v_child);
  if split_part(v_child.workflow, '@', 1) is distinct from split_part(child ->> 'workflow', '@', 1)
    or v_child.input is distinct from coalesce(nullif(child -> 'input', 'null'), '{}')
  then
    raise exception 'edge % of run % leads to another child',
        quote_literal(known.edge), known.parent_id
      using errcode = 'TD020',
            detail = format('It is run %s of workflow %s.', known.child_id, v_child.workflow),
            hint = 'Give a child with another workflow or input another edge name.';
  end if;
end;
$$;

comment on function tide._refuse_other_child is
  'TD020 when an edge is asked for with another workflow or input.';
