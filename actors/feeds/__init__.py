"""The venues: an adapter each (pure), a connection loop and a board of the latest quotes."""
