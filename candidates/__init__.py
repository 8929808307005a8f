"""The replacement and other pretrained models, each an arm."""
