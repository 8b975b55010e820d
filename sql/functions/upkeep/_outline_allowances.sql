create or replace function tide._outline_allowances()
returns jsonb
language plpgsql
stable
as $$
begin
  return (
    select coalesce(
      jsonb_agg(
        jsonb_build_object(
          'scope', f.scope,
          'unit', f.unit,
          'per', f.per,
          'amount', f.amount,
          'left', f.left_over,
          'share', f.share
        )
        order by f.share desc, f.scope, f.unit, f.per
      ),
      '[]'
    )
    from (
      select
        a.scope,
        a.unit,
        a.per,
        a.amount,
        greatest(l.rest, 0) as left_over,
        round(1 - l.rest / a.amount, 3) as share
      from (
        select m.*
        from tide.allowances as m
        order by
          m.scope,
          m.unit,
          m.per
        limit 1000
      ) as a
      cross join lateral (
        select tide._allowance_left(a) as rest
      ) as l
      where a.amount > 0
        and l.rest <= a.amount / 5
      order by
        l.rest / a.amount,
        a.scope,
        a.unit,
        a.per
      limit 5
    ) as f
  );
end;
$$;

comment on function tide._outline_allowances is
  'Allowances of which four fifths are spent or reserved, the five that are nearest to their end, of the '
  'first thousand.';
