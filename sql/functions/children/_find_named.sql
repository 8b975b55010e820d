create or replace function tide._find_named(parent_id uuid, argument text, named jsonb)
returns uuid
language plpgsql
stable
as $$
declare
  v_named constant text := named #>> '{}';
  v_run_id uuid;
begin
  if jsonb_typeof(named) = 'string' then
    v_run_id := coalesce(
      (
        select e.child_id
        from tide.run_edges as e
        where e.parent_id = _find_named.parent_id
          and e.edge = v_named
      ),
      tide._as_uuid(v_named)
    );
    if v_run_id is not null then
      return v_run_id;
    end if;
  end if;
  raise exception '% names neither a child of run % nor a run: %',
      argument, _find_named.parent_id, left(named::text, 200)
    using errcode = '22023',
          hint = 'Give the edge of a child that was made before, or the id of a run.';
end;
$$;

comment on function tide._find_named is
  'The run that a child comes after: a child of the same parent by its edge, else a run by its id; what is '
  'neither: 22023.';
