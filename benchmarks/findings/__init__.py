"""What is found outside the joints, and what is taken for it wrongly; see ``__main__``."""
