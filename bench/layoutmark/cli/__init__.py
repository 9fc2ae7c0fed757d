"""The command `layoutmark`: says what the user said and calls one function below."""
