create or replace function tide._check_identity()
returns boolean
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
begin
  if tide._is_copy() then
    perform tide._pause(
      'tide',
      'this database is a copy of the one tide was installed in; call tide.adopt'
    );
  else
    update tide.identity as i
    set
      timeline = h.timeline,
      failed_over_at = v_now
    from tide._here() as h
    where i.timeline <> h.timeline;
  end if;
  return tide._is_at_work();
end;
$$;

comment on function tide._check_identity is
  'Pause a copy of the installation, note a failover, and say whether work may go on.';
