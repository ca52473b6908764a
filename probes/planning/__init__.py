"""What a command would compute, hold, read and write, said before it runs."""
