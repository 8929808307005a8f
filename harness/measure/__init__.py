"""The cost half of the comparison: speed, memory, training and size of two arms, in pairs."""
