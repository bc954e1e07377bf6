"""From particles to report: what each command does from its beginning to its end."""
