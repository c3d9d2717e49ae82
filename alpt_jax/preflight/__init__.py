"""What a run would need on machines that nobody has paid for yet."""
