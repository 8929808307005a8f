"""What the command line offers beside the main job, a module a verb."""
