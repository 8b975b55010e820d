create or replace function tide._park(
  run tide.runs,
  waiting_on text,
  waiting_for text,
  payload jsonb default '{}'
)
returns void
language plpgsql
volatile
as $$
begin
  perform tide._requeue(
    run,
    ended_by => null,
    run_at => null,
    counted => false,
    event => 'run.parked',
    payload => jsonb_build_object(
      'waiting_on', _park.waiting_on,
      'waiting_for', _park.waiting_for
    ) || _park.payload,
    waiting_on => _park.waiting_on,
    waiting_for => _park.waiting_for
  );
end;
$$;

comment on function tide._park is
  'Let a leased run wait without lease, slot, worker or attempt until _resume wakes it.';
