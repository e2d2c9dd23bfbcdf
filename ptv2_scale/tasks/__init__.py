"""What is learned: data in its published form, a head, a loss and a metric."""
