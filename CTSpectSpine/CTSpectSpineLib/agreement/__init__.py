"""Agreement of readers with the software and with each other, and of repeated measurements."""
