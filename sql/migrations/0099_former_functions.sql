-- tide: after the functions, after the deploy
-- Whether a run was made before is asked only when it was in the way. No lock on tables.
drop function if exists tide._made_before(uuid, text, jsonb, boolean);
