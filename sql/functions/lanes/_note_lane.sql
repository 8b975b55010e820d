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
begin
  perform tide._note_change(
    'lane',
    _note_lane.lane,
    null,
    _note_lane.actor,
    coalesce(
      jsonb_strip_nulls(to_jsonb(_note_lane.before) - '{created_at,updated_at}'::text[]), '{}'
    ),
    coalesce(
      jsonb_strip_nulls(to_jsonb(_note_lane.after) - '{created_at,updated_at}'::text[]), '{}'
    )
  );
end;
$$;

comment on function tide._note_lane is
  'Remember what of a lane has changed, and who did it; before null = it is new, after null = dropped.';
