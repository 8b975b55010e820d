-- Without a lost lease there is no other worker who could have called.
create or replace function tide._judge_caller(run tide.runs, worker text, identity text)
returns text
language plpgsql
stable
as $$
declare
  v_is_holder constant boolean := coalesce(_judge_caller.worker = run.worker, false);
  v_lost boolean;
  v_was_it boolean;
begin
  if identity = 'process' then
    return case when v_is_holder then 'holder' else 'stranger' end;
  elsif identity = 'key' and not v_is_holder then
    return 'stranger';
  end if;
  select
    count(*) > 0,
    coalesce(bool_or(l.worker = _judge_caller.worker), false)
  into v_lost, v_was_it
  from tide.lost_leases as l
  where l.run_id = run.run_id;
  return case
    when not v_lost then 'holder'
    when v_is_holder and not v_was_it then 'holder'
    when v_was_it and not v_is_holder then 'stranger'
    else 'unknown'
  end;
end;
$$;

comment on function tide._judge_caller is
  'Whether who calls without a lease is the holder of a locked, running run, a stranger to it, or '
  'unknown: its holder or a worker that lost it.';
