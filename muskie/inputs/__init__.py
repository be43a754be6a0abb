"""From photographs, arrays or a video to the views that a reconstruction model takes."""
