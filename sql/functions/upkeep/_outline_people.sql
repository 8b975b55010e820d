create or replace function tide._outline_people()
returns jsonb
language plpgsql
stable
as $$
begin
  return (
    select coalesce(jsonb_object_agg(p.waiting_on, p.found), '{}')
    from (
      select
        k.waiting_on,
        jsonb_build_object(
          'runs', count(*),
          'oldest', tide._outline_runs(
            (array_agg(r.run_id order by r.run_id))[:5]
          )
        ) as found
      from (
        values
          ('review'),
          ('budget')
      ) as k(waiting_on)
      cross join lateral (
        select a.run_id
        from tide.runs_active as a
        where a.waiting_on in ('review', 'budget')
          and a.waiting_on = k.waiting_on
        order by
          a.waiting_on,
          a.run_id
        limit 10001
      ) as r
      group by k.waiting_on
    ) as p
  );
end;
$$;

comment on function tide._outline_people is
  'Runs that go on only when a person acts: those in review and those beyond their budget.';
