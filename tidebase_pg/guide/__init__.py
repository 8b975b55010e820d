"""What a coding agent has to know to write workflows; `tidebase-pg skill` hands it out."""
