"""What will exist. Pure: same input, same bytes; golden files are its tests."""
