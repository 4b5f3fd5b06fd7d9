"""The engine `sql`: a model compiled to one SELECT, which the pool runs by itself."""
