create or replace function tide._is_at_work()
returns boolean
language plpgsql
stable
as $$
begin
  return (
    select t.paused_at is null
    from tide.ticks as t
  );
end;
$$;

comment on function tide._is_at_work is 'False while the installation is paused.';
