"""Who a person is: face alignment, the recogniser, and the identity record."""
