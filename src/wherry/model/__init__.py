"""From a trained object to a bundle, and back. Knows no HTTP and no cluster; each library has one file, in flavors."""
