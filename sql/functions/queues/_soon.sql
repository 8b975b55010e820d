create or replace function tide._soon()
returns timestamptz
language plpgsql
volatile
as $$
begin
  return tide._now() + interval '40 seconds';
end;
$$;

comment on function tide._soon is
  'Idle workers are told of what is due before this time; of later times they learn by looking.';
