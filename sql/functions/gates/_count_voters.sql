create or replace function tide._count_voters(gate tide.gates)
returns integer
language plpgsql
stable
as $$
begin
  if gate.assignees = '{}' or exists (
    select
    from unnest(gate.assignees || gate.escalate_to) as a(assignee)
    where a.assignee like 'role:%'
  ) then
    return null;
  end if;
  return (
    select count(distinct a.assignee)
    from unnest(gate.assignees || gate.escalate_to) as a(assignee)
  );
end;
$$;

comment on function tide._count_voters is
  'How many actors may ever decide a gate; null where nobody knows.';
