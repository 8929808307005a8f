"""What is asked: the experiment, its plan, its policy and its waivers."""
