create or replace function tide._undo_ending(run tide.runs)
returns void
language plpgsql
volatile
as $$
begin
  -- Gates that only the end of the run closed, nobody's decision has no payload, are asked again.
  delete from tide.gates as g
  where g.run_id = run.run_id
    and g.status = 'canceled'
    and g.actor = 'tide'
    and g.payload is null;
  delete from tide.cascades as c
  where c.parent_id = run.run_id;
  if run.parent_id is not null then
    update tide.run_edges as e
    set
      child_status = null,
      noticed = true
    where e.child_id = run.run_id;
  end if;
end;
$$;

comment on function tide._undo_ending is
  'Take back what the end of a run meant to its gates, children and parent, before it is retried.';
