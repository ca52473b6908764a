"""Where two models keep whether a statement is true, and whether it moves them."""
