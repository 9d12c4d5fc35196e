-- A channel's oldest that was never tried, and what was: without these, every message looks at all that waits for its channel, and a
-- flood of a thousand takes a thousand times as long as one.
CREATE INDEX notifications_fresh_idx ON notifications (channel_id, id) WHERE state = 'waiting' AND bundle IS NULL;
CREATE INDEX notifications_bundle_idx ON notifications (channel_id, bundle)
    WHERE bundle IS NOT NULL AND state IN ('waiting', 'sending');
