"""What a panel needs without its widgets: requests, runs, forms and shown rows."""
