-- tide: after the functions, after the deploy
-- What one decision about steps has replaced. No lock on tables.
drop function if exists tide._replay_action(tide.steps, uuid);
