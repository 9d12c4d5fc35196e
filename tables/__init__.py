"""What agents remember between messages (Faust tables). The first ones, usage counters, come with the normalization work."""
