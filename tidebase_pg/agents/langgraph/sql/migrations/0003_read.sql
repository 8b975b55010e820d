-- Reading gives hashes, each value once, and nothing the caller knows. Functions only, made again with all
-- functions.
drop function if exists tide_langgraph.read;
drop function if exists tide_langgraph._blobs;
drop function if exists tide_langgraph._found;
