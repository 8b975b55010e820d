-- tide: after the functions, after the deploy
-- How claims picked runs before there were lanes. No lock on tables.
drop function if exists tide._pick(text, integer, text[]);
