-- NOTIFY takes a lock of the whole database at commit: only for runs somebody follows.
create or replace function tide._tell(run_ids uuid[], seqs integer[], type text)
returns void
language plpgsql
volatile
as $$
declare
  v_has_channels boolean;
  v_is_watched boolean;
begin
  select
    exists (
      select
      from tide.channels as c
      where c.run_id = any (_tell.run_ids)
    ),
    exists (
      select
      from tide.watchers as w
      where w.run_id = any (_tell.run_ids)
    )
  into v_has_channels, v_is_watched;
  if v_has_channels then
    perform tide._announce(_tell.run_ids, _tell.seqs, _tell.type);
  end if;
  if v_is_watched then
    perform pg_notify('tide_events', w.run_id::text)
    from tide.watchers as w
    where w.run_id = any (_tell.run_ids);
  end if;
end;
$$;

comment on function tide._tell is
  'Write the deliveries of events just appended and notify who watches their runs.';
