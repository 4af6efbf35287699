"""What every room stands on: tensor shapes, checks of arguments, random numbers, files, progress."""
