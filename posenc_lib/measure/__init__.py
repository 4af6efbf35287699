"""What is computed from images, feature maps and predictions: placements, features, scores, rankings."""
