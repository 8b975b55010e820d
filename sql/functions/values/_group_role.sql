create or replace function tide._group_role(role text)
returns name
language plpgsql
stable
parallel safe
as $$
begin
  return (select n.prefix from tide.role_names as n) || _group_role.role;
end;
$$;

comment on function tide._group_role is
  'The name of a group role of this installation: client, worker, operator, viewer or approver.';
