"""What any model is trained with from nothing: optimizers, schedules, checkpoints, logs, and many devices."""
