-- The children of one call are parsed and inserted together; a moment's lock on the catalogue.
drop function if exists tide._parse_child;
drop function if exists tide._add_child;
drop function if exists tide._parse_batch;
