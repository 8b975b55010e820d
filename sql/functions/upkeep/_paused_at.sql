create or replace function tide._paused_at()
returns timestamptz
language plpgsql
stable
as $$
begin
  return coalesce(
    (
      select p.paused_at
      from tide.pauses as p
    ),
    (
      select t.paused_at
      from tide.ticks as t
    )
  );
end;
$$;

comment on function tide._paused_at is 'Since when the installation is paused; null = at work.';
