create or replace function tide._is_at_work()
returns boolean
language plpgsql
stable
as $$
begin
  return tide._paused_at() is null;
end;
$$;

comment on function tide._is_at_work is 'False while the installation is paused.';
