"""What is watched and who is told: monitors, channels, downtimes and alerts, as people define and follow them."""
