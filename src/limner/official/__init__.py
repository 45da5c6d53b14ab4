"""Released checkpoints: one-to-one key maps between the official layouts and limner's, a file a family."""
