"""Who is told what happens in a run: terminal, log. The runner tells, the reporters show."""
