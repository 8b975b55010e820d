-- Runs that were under way together when the limit was halved tell of the old one.
create or replace function tide._is_refusal(lane tide.lanes, claimed_at timestamptz)
returns boolean
language sql
immutable
parallel safe
as $$
select
  coalesce(
    (_is_refusal.lane).adaptive
    and (
      (_is_refusal.lane).cut_at is null
      or (_is_refusal.lane).cut_at operator(pg_catalog.<) _is_refusal.claimed_at
    ),
    false
  )
$$;

comment on function tide._is_refusal is
  'Whether a refusal of a run, claimed at a time, halves the limit of its lane.';
