"""Sets weights to zero, and says what that gains on the target."""
