-- Reading gives the hashes of values too. A function only, made again with all functions.
drop function if exists tide_langgraph.read;
