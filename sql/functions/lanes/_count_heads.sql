create or replace function tide._count_heads(
  lane text,
  lane_key text,
  queue text,
  most integer
)
returns integer
language plpgsql
volatile
as $$
begin
  return (
    select count(*)
    from (
      select
      from tide.lane_heads as h
      where h.lane = _count_heads.lane
        and h.lane_key = _count_heads.lane_key
        and h.queue = _count_heads.queue
      order by h.lane, h.lane_key, h.turn_at
      limit _count_heads.most
    ) as n
  );
end;
$$;

comment on function tide._count_heads is
  'How many runs of a key and a queue have their turn in a fair lane, counted to most and no further.';
