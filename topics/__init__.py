"""What flows: topic names, the messages on them, and the Redis Streams transport that carries them."""
