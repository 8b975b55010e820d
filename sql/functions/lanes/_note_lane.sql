create or replace function tide._note_lane(
  lane text,
  actor text,
  before tide.lanes,
  after tide.lanes
)
returns void
language plpgsql
volatile
as $$
declare
  v_apart constant text[] := array[
    'created_at', 'updated_at', 'probe_at', 'probe_id', 'probed_at', 'probes',
    'adaptive_limit', 'adaptive_round', 'cut_at'
  ];
begin
  -- Of a breaker that it opened and closed, not every probe of it; of an adaptive limit no step.
  perform tide._note_change(
    'lane',
    _note_lane.lane,
    null,
    _note_lane.actor,
    coalesce(
      jsonb_strip_nulls(to_jsonb(_note_lane.before) - v_apart), '{}'
    ),
    coalesce(
      jsonb_strip_nulls(to_jsonb(_note_lane.after) - v_apart), '{}'
    )
  );
end;
$$;

comment on function tide._note_lane is
  'Remember what of a lane has changed, and who did it; before null = it is new, after null = dropped.';
