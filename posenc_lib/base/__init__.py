"""What every room builds on: tensor shapes, argument checks, random numbers, checkpoint files, progress."""
