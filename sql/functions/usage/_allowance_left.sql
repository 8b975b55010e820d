create or replace function tide._allowance_left(allowance tide.allowances)
returns numeric
language plpgsql
stable
as $$
declare
  v_window constant timestamptz := tide._window_start(
    allowance.per, allowance.time_zone, tide._now()
  );
begin
  return (
    select trim_scale(
      sum(
        case
          when p.began_at < greatest(v_window, m.began_at) then p.share
          else p.free
        end
      )
    )
    from tide.purses as p
    cross join (
      select max(n.began_at) as began_at
      from tide.purses as n
      where n.allowance_id = _allowance_left.allowance.allowance_id
    ) as m
    where p.allowance_id = _allowance_left.allowance.allowance_id
  );
end;
$$;

comment on function tide._allowance_left is
  'What is neither spent nor reserved of an allowance in its window; negative = more was spent than it has.';
