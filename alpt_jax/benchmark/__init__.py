"""What things cost: measured in one run, beside the limit of the machine."""
