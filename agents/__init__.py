"""The actors: each reads one topic, and produces or stores what comes of it."""
