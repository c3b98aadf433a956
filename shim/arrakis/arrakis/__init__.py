"""The names of Arrakis that genericpipeline has."""
