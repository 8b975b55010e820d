"""The worker: its loop, what it decides, lease renewal, notifications, batches of steps."""
