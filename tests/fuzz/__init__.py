"""A package, because its modules are named like those of the tests beside it."""
