create or replace function tide._purse_share(units bigint, lane_key text, purse integer)
returns bigint
language plpgsql
immutable
parallel safe
as $$
declare
  v_count constant integer := tide._purse_count(_purse_share.lane_key);
begin
  return case
    when purse <= v_count then units / v_count + (purse <= units % v_count)::integer
    else 0
  end;
end;
$$;

comment on function tide._purse_share is
  'The share of a purse in the units of its line; together they are all of them, and of more units none is '
  'smaller.';
