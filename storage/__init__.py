"""What a store answers, and the clients of the stores."""
