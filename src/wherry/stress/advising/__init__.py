"""What one replica holds, found by load, and the settings that follow from it."""
