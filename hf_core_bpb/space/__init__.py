"""Three calculators for people who try the numbers in a browser: what they compute, and the app around them."""
