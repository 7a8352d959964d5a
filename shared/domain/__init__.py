"""The rules of just-in-time access: pure values and functions, standard library only."""
