-- Nothing of up to 200 bytes nests too deep, is too large or holds a number nobody can parse.
-- Offset 0 keeps what was found out about an outcome from being found out again for each aggregate.
create or replace function tide._parse_completions(outcomes jsonb)
returns tide.completions
language plpgsql
volatile
as $$
declare
  v_completions tide.completions;
begin
  -- One alone needs no aggregates.
  if jsonb_array_length(outcomes) = 1
    and (outcomes -> 0) ?& '{run_id,lease_id}'
    and (outcomes -> 0) - '{run_id,lease_id,trace}'::text[] = '{}'
  then
    return (
      array[(outcomes -> 0 ->> 'run_id')::uuid],
      array[(outcomes -> 0 ->> 'lease_id')::uuid],
      null,
      null,
      null
    )::tide.completions;
  elsif jsonb_array_length(outcomes) > 10000 then
    return null;
  end if;
  select
    array_agg(o.run_id) filter (where o.plain),
    array_agg(o.lease_id) filter (where o.plain),
    case
      when count(nullif(o.result, 'null')) filter (where o.plain) > 0
        then array_agg(nullif(o.result, 'null')) filter (where o.plain)
    end,
    jsonb_agg(o.outcome) filter (where not o.plain),
    array_agg(o.run_id) filter (where not o.plain and o.outcome ?| '{error,release}')
  into
    v_completions.run_ids,
    v_completions.lease_ids,
    v_completions.results,
    v_completions.others,
    v_completions.other_run_ids
  from (
    select
      e.outcome,
      (e.outcome ->> 'run_id')::uuid as run_id,
      (e.outcome ->> 'lease_id')::uuid as lease_id,
      e.result,
      e.outcome - '{run_id,lease_id,result,trace}'::text[] = '{}'
        and e.outcome ?& '{run_id,lease_id}'
        and (
          tide._is_small(e.result) is not false
          or tide._payload_problem(e.result) is null
        ) as plain
    from (
      select
        a.outcome,
        a.outcome -> 'result' as result
      from jsonb_array_elements(_parse_completions.outcomes) as a(outcome)
      offset 0
    ) as e
    order by (e.outcome ->> 'run_id')::uuid
    offset 0
  ) as o;
  return v_completions;
exception
  when data_exception then
    return null;
end;
$$;

comment on function tide._parse_completions is
  'The outcomes that say no more than that a run completed, by run_id and in one statement, and the '
  'others as they are; null when something is no outcome at all.';
