create or replace function tide.note_gate(
  gate_id uuid,
  note text,
  actor text,
  comment text default null
)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_note constant text := tide._valid_choice(
    'note', note_gate.note, '{viewed,commented,reminded}'
  );
  v_actor constant text := tide._valid_text('actor', note_gate.actor, 4096);
  v_comment constant text := tide._valid_note('comment', note_gate.comment);
  v_gate tide.gates;
  v_run tide.runs;
begin
  perform tide._require_read_committed('note_gate');
  v_gate := tide._require_gate(note_gate.gate_id);
  if v_note = 'commented' and coalesce(v_comment, '') = '' then
    raise exception 'comment is empty'
      using errcode = '22023',
            hint = 'Say something, or note that the gate was viewed.';
  end if;
  v_run := tide._lock_active(v_gate.run_id);
  v_gate := tide._find_gate(v_gate.gate_id);
  if v_gate.status <> 'pending' then
    raise exception 'gate % is already decided: %', v_gate.gate_id, v_gate.status
      using errcode = 'TD022',
            hint = 'Its events tell how.';
  end if;
  perform tide._log(
    v_run.run_id,
    'gate.' || v_note,
    jsonb_build_object('gate_id', v_gate.gate_id, 'name', v_gate.name, 'actor', v_actor)
      || tide._said('comment', v_comment),
    renews => false
  );
end;
$$;

comment on function tide.note_gate is
  'Log that an actor has viewed a pending gate, commented on it, or reminded those it asks: channels '
  'get the event. Decided: TD022.';
