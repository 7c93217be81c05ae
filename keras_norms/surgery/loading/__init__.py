"""What `load` is made of: a reader per framework, which layer takes what, and what its variables become."""
