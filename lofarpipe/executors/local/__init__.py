"""Jobs on this machine, within its cores, memory and graphics processors."""
