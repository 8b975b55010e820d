create or replace function tide._sum_reserved(holder_id uuid, unit text)
returns numeric
language plpgsql
stable
as $$
begin
  return (
    select coalesce(sum(r.amount), 0)
    from tide.reserved_amounts as r
    where r.holder_id = _sum_reserved.holder_id
      and r.unit = _sum_reserved.unit
  );
end;
$$;

comment on function tide._sum_reserved is 'What steps under way have reserved of an allowance or a budget.';
