create or replace function tide._valid_worker(worker text)
returns text
language plpgsql
immutable
parallel safe
as $$
begin
  if worker is null then
    return null;
  end if;
  return tide._valid_text('worker', worker, 256);
end;
$$;

comment on function tide._valid_worker is 'The label of a worker, or 22023; null = none.';
