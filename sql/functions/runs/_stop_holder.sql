create or replace function tide._stop_holder(run tide.runs)
returns void
language plpgsql
volatile
as $$
begin
  if run.session_id is not null then
    perform pg_notify('tide_work', tide._told_as(run.session_id::text) || '!');
  end if;
end;
$$;

comment on function tide._stop_holder is
  'Tell the worker that held a run at once, and not with the next renewal of its lease.';
